//! The engine on real interfaces, each test in a network namespace of its own, by the test's clock. Needs root and ip(8).

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::epoll::EpollCreateFlags;

use super::*;
use crate::agent::net::netlink::{Assigned, Change, Monitor};
use crate::vrrp::State;

mod meaning;

const T: fn(u64) -> Time = Time::from_millis;
const VIP: &str = "10.77.0.99";
/// linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// `eth0` with 10.77.0.1, whose other end is `wire0`.
fn inside(test: impl FnOnce() + Send + 'static) {
    if !crate::agent::left_out::able(&["ip"]) {
        return;
    }
    let thread = std::thread::spawn(move || {
        // Of this thread alone, and of the programs that it starts.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for line in [
            "link add name wire0 type veth peer name eth0",
            "link set wire0 up",
            "link set eth0 up",
            "addr add 10.77.0.1/24 dev eth0",
        ] {
            ip(line);
        }
        carrier(true);
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(args: &str) -> String {
    let out = Command::new("ip").args(args.split_whitespace()).output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "ip {args}: {error}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Waits until the kernel has noticed.
fn carrier(up: bool) {
    while ip("-o link show dev eth0").contains(" state UP ") != up {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn there(address: &str) -> bool {
    ip("-o addr show dev eth0").contains(&format!(" {address}/"))
}

/// Does something without a capability of this thread.
fn without<R>(capability: u32, work: impl FnOnce() -> R) -> R {
    #[repr(C)]
    struct Header(u32, i32);
    // Effective, permitted, inheritable; each in two halves.
    let mut header = Header(0x2008_0522, 0);
    let mut data = [[0u32; 3]; 2];
    let mut call = |number: libc::c_long, data: &mut [[u32; 3]; 2]| {
        // SAFETY: version 3 of the header, for this thread, and the two structures that belong to it.
        let result = unsafe { libc::syscall(number, &raw mut header, data.as_mut_ptr()) };
        assert_eq!(result, 0);
    };
    call(libc::SYS_capget, &mut data);
    let mut less = data;
    less[0][0] &= !(1 << capability);
    call(libc::SYS_capset, &mut less);
    let result = work();
    call(libc::SYS_capset, &mut data);
    result
}

struct World {
    engine: Engine,
    dir: tempfile::TempDir,
}

impl World {
    fn new(text: &str) -> World {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keepalived.conf");
        std::fs::write(&path, text).unwrap();
        let config = config::load(&path, None).unwrap().config;
        let epoll = Rc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap());
        let tokens = Tokens {
            packets: 1,
            processes: 2,
        };
        let engine = Engine::new(path, None, config, &epoll, tokens).unwrap();
        World { engine, dir }
    }

    fn state(&self, instance: usize) -> State {
        self.engine.look(Time::ZERO).rows[instance].router.state
    }

    fn sent(&self, instance: usize) -> u64 {
        self.engine.look(Time::ZERO).rows[instance].router.statistics.sent
    }

    fn reload(&mut self, now: Time, text: &str) {
        std::fs::write(self.dir.path().join("keepalived.conf"), text).unwrap();
        self.engine.reload(now).unwrap();
    }
}

fn instance(number: u8, priority: u8, vips: &[&str]) -> String {
    let vips: String = vips.iter().map(|vip| format!(" {vip}/24\n")).collect();
    format!(
        "vrrp_instance V{number} {{\n interface eth0\n virtual_router_id {number}\n priority {priority}\n \
         garp_master_refresh 0\n garp_master_delay 0\n virtual_ipaddress {{\n{vips} }}\n}}\n"
    )
}

/// Becomes the owner as soon as it starts.
fn owner() -> String {
    instance(1, 255, &[VIP])
}

fn assigned(address: &str) -> Assigned {
    let name = c"eth0";
    Assigned {
        // SAFETY: a name that ends with its zero.
        index: unsafe { libc::if_nametoindex(name.as_ptr()) },
        ip: address.parse().unwrap(),
        prefix: 24,
    }
}

#[test]
fn what_was_lost_in_an_overrun_is_added_again_and_old_news_do_not_count() {
    inside(|| {
        let mut world = World::new(&owner());
        world.engine.start(T(1000), Before::Clean);
        assert!(world.state(0) == State::Master && there(VIP));
        ip("addr del 10.77.0.99/24 dev eth0");
        // That the source was away for a while was told before the overrun, that it came back was not told any more.
        let queued = [Change::AddressGone(assigned("10.77.0.1")), Change::Overrun];
        world.engine.changed(T(1100), &queued);
        assert!(there(VIP), "added again");
        assert_eq!(world.state(0), State::Master);
        let report = world.engine.look(T(1100));
        assert_eq!(
            (report.rows[0].source, report.netlink_overruns),
            ("10.77.0.1".parse().ok(), 1)
        );
    });
}

#[test]
fn an_overrun_that_hid_a_dead_link_is_a_fault() {
    inside(|| {
        let mut world = World::new(&owner());
        world.engine.start(T(1000), Before::Clean);
        ip("link set wire0 down");
        carrier(false);
        world.engine.changed(T(1100), &[Change::Overrun]);
        assert_eq!(world.state(0), State::Fault);
        assert!(!there(VIP));
        ip("link set wire0 up");
        carrier(true);
        world.engine.changed(T(1200), &[Change::Overrun]);
        assert!(world.state(0) == State::Master && there(VIP));
    });
}

#[test]
fn what_cannot_be_removed_is_tried_again_and_remembered() {
    inside(|| {
        let mut world = World::new(&owner());
        world.engine.start(T(1000), Before::Clean);
        without(CAP_NET_ADMIN, || {
            world.engine.command(T(1100), None, &Input::Handover(None))
        });
        assert!(world.state(0) == State::Backup && there(VIP) && !world.engine.is_clean());
        // Also when the configuration does not know it any more.
        let other = instance(1, 255, &["10.77.0.98"]);
        without(CAP_NET_ADMIN, || world.reload(T(1110), &other));
        assert!(
            world
                .engine
                .notes()
                .addresses
                .contains(&("eth0".to_owned(), VIP.parse().unwrap(), 24))
        );
        assert_eq!(world.engine.next_timer(), Some(T(1200)));
        without(CAP_NET_ADMIN, || world.engine.tick(T(1200)));
        assert_eq!(world.engine.next_timer(), Some(T(1400)), "and less and less often");
        world.engine.tick(T(1400));
        assert!(!there(VIP) && world.engine.is_clean());
    });
}

#[test]
fn what_cannot_be_put_on_is_tried_again() {
    inside(|| {
        let mut world = World::new(&owner());
        without(CAP_NET_ADMIN, || world.engine.start(T(1000), Before::Clean));
        assert!(world.state(0) == State::Master && !there(VIP));
        world.engine.tick(T(1100));
        assert!(there(VIP));
        world.engine.stop(T(1200));
        assert!(!there(VIP) && world.engine.is_clean());
    });
}

#[test]
fn who_cannot_hear_takes_no_part() {
    inside(|| {
        let mut world = World::new(&owner());
        without(CAP_NET_RAW, || world.engine.start(T(1000), Before::Clean));
        assert!(world.state(0) == State::Fault && !there(VIP));
        world.engine.tick(T(1100));
        assert!(world.state(0) == State::Master && there(VIP));
    });
}

#[test]
fn a_delay_that_ends_with_another_change_still_counts() {
    inside(|| {
        let mut monitor = Monitor::open().unwrap();
        let delays = "interface_up_down_delays {\n eth0 1 1\n}\n";
        let mut world = World::new(&(delays.to_owned() + &owner()));
        world.engine.start(T(1000), Before::Clean);
        ip("link set wire0 down");
        carrier(false);
        world.engine.changed(T(1100), &monitor.changes().unwrap());
        assert_eq!(world.state(0), State::Master, "not yet");
        // The echo of our own doing.
        world.engine.changed(T(2100), &[Change::Address(assigned(VIP))]);
        assert_eq!(world.state(0), State::Fault);
    });
}

#[test]
fn an_address_that_a_reload_gives_to_a_standby_goes() {
    inside(|| {
        let other = "10.77.0.98";
        let mut world = World::new(&(instance(1, 255, &[VIP, other]) + &instance(2, 100, &["10.77.0.97"])));
        world.engine.start(T(1000), Before::Clean);
        assert!(world.state(0) == State::Master && world.state(1) == State::Backup && there(other));
        world.reload(
            T(1100),
            &(instance(2, 100, &["10.77.0.97", other]) + &instance(1, 255, &[VIP])),
        );
        assert!(there(VIP) && !there(other));
        // Between owners it stays.
        world.reload(
            T(1200),
            &(instance(3, 255, &["10.77.0.96", other]) + &instance(1, 255, &[VIP])),
        );
        assert!(there(other));
        let mut monitor = Monitor::open().unwrap();
        world.reload(
            T(1300),
            &(instance(3, 255, &["10.77.0.96"]) + &instance(1, 255, &[VIP, other])),
        );
        let moved = monitor.changes().unwrap();
        assert!(
            there(other) && !moved.contains(&Change::AddressGone(assigned(other))),
            "{moved:?}"
        );
    });
}

#[test]
fn adverts_that_are_due_nearly_together_go_together_and_stay_by_the_clock() {
    inside(|| {
        let mut world = World::new(&owner());
        let later = Duration::from_micros(300);
        world.engine.start(T(1000), Before::Clean);
        world.reload(
            T(1000) + later,
            &(owner() + &instance(2, 255, &["10.77.0.98"]) + &instance(3, 100, &["10.77.0.97"])),
        );
        assert_eq!((world.sent(0), world.sent(1)), (1, 1));
        world.engine.tick(T(2000));
        assert_eq!((world.sent(0), world.sent(1)), (2, 2));
        assert_eq!(world.engine.due[..2], [Some(T(3000)), Some(T(3000) + later)]);
        // A wait is never cut short.
        let silence = world.engine.due[2].unwrap();
        world.engine.due[0] = Some(silence - later);
        world.engine.tick(silence - later);
        assert_eq!(world.state(2), State::Backup);
        world.engine.tick(silence);
        assert_eq!(world.state(2), State::Master);
    });
}

#[test]
fn a_packet_counts_from_its_arrival_if_that_is_known() {
    let (now, real) = (T(10_000), Duration::from_secs(1_800_000_000));
    let early = Duration::from_micros(700);
    assert_eq!(arrival(now, real, Some(real - early)), now - early);
    assert_eq!(
        arrival(now, real, Some(real + early)),
        now + early,
        "it came while others were read"
    );
    assert_eq!(arrival(now, real, None), now);
    // Somebody set the clock, or the packet has lain there while the last ones found no room.
    for seconds in [1, 3600] {
        let away = Duration::from_secs(seconds);
        assert_eq!(arrival(now, real, Some(real - away)), now);
        assert_eq!(arrival(now, real, Some(real + away)), now);
    }
}

#[test]
fn who_cannot_send_gets_no_address_and_tells_nobody_of_it() {
    inside(|| {
        // The kernel refuses packets to a broadcast address.
        let text = owner().replace(
            " virtual_ipaddress",
            " unicast_peer {\n 10.77.0.255\n }\n virtual_ipaddress",
        );
        let mut world = World::new(&text);
        world.engine.start(T(1000), Before::Clean);
        assert!(world.state(0) == State::Backup && !there(VIP));
        let row = &world.engine.look(T(1000)).rows[0];
        let statistics = row.router.statistics;
        assert_eq!((statistics.became_master, statistics.left_master), (0, 0));
        // It tries again after its wait, and sends from then on.
        ip("route del broadcast 10.77.0.255 dev eth0 table local");
        let next = world.engine.next_timer().unwrap();
        world.engine.tick(next);
        assert!(world.state(0) == State::Master && there(VIP));
        // Two adverts in a row may fail, the third ends the ownership.
        ip("route add broadcast 10.77.0.255 dev eth0 table local");
        for failures in 1..=3 {
            assert!(world.state(0) == State::Master && there(VIP), "{failures}");
            let next = world.engine.next_timer().unwrap();
            world.engine.tick(next);
        }
        assert!(world.state(0) == State::Backup && !there(VIP));
    });
}

#[test]
fn nothing_is_sent_from_a_tentative_address() {
    inside(|| {
        let text = owner().replace(VIP, "fd00:77::99").replace("/24", "/64");
        // The link-local address waits for its duplicate address detection, a second or two.
        let tentative = || ip("-6 -o addr show dev eth0 tentative").contains(" fe80:");
        assert!(tentative(), "the kernel was faster than the test");
        let mut monitor = Monitor::open().unwrap();
        let mut world = World::new(&text);
        world.engine.start(T(1000), Before::Clean);
        assert!(world.state(0) == State::Fault && !there("fd00:77::99"));
        let mut now = 1000;
        while world.state(0) != State::Master {
            std::thread::sleep(Duration::from_millis(5));
            now += 5;
            assert!(now < 11_000, "it never becomes owner");
            let before = tentative();
            let changes = monitor.changes().unwrap();
            world.engine.changed(T(now), &changes);
            let early = before && tentative() && world.state(0) == State::Master;
            assert!(!early, "owner although its adverts cannot be sent");
        }
        assert!(there("fd00:77::99"));
    });
}

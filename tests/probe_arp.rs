//! ARP probing on real frames: a controller and two hosts on a bridge, in network namespaces of the test's own.
//!
//! Needs root and ip(8); without them it says so and does nothing else.

mod left_out;

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hapair::probe::Mac;
use hapair::probe::arp::{ArpWatch, interface_for, who_has};

/// A network namespace that lives as long as its one sleeping process.
struct Host(Child);

impl Host {
    fn new() -> Host {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = Host(child);
        // The thread's, not the process's: the main thread stayed where it was.
        let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until `unshare` has done its work, the child is still in our namespace.
        while std::fs::read_link(format!("/proc/{}/ns/net", host.0.id())).is_ok_and(|theirs| theirs == ours) {
            assert!(Instant::now() < deadline, "unshare did not come to its end");
            std::thread::sleep(Duration::from_millis(2));
        }
        host
    }

    fn ip(&self, args: &str) {
        let pid = self.0.id().to_string();
        run(Command::new("nsenter")
            .args(["-t", &pid, "-n", "ip"])
            .args(args.split_whitespace()));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn ip(args: &str) {
    run(Command::new("ip").args(args.split_whitespace()));
}

#[test]
fn owners_are_seen_from_outside() {
    if !left_out::able(&["ip"]) {
        return;
    }
    // A thread of its own: the namespace ends with it, and so does everything in it.
    std::thread::spawn(in_own_namespace).join().unwrap();
}

fn in_own_namespace() {
    // Every child of this thread is born in its namespace.
    assert_eq!(
        // SAFETY: moves this thread into a network namespace of its own; no memory is involved.
        unsafe { libc::unshare(libc::CLONE_NEWNET) },
        0,
        "{}",
        std::io::Error::last_os_error()
    );
    let vip: IpAddr = "192.0.2.200".parse().unwrap();
    ip("link add hp-br type bridge forward_delay 0");
    ip("addr add 192.0.2.9/24 dev hp-br");
    ip("link set hp-br up");
    // /proc/self would be the main thread, which stayed in the old namespace.
    // SAFETY: no arguments, cannot fail.
    let here = unsafe { libc::gettid() }.to_string();
    let hosts = [Host::new(), Host::new()];
    for (number, host) in hosts.iter().enumerate() {
        let mac = format!("02:00:00:00:00:0{number}");
        host.ip(&format!(
            "link add eth0 address {mac} type veth peer name hp-{number} netns {here}"
        ));
        ip(&format!("link set hp-{number} master hp-br up"));
        host.ip(&format!("addr add 192.0.2.{}/24 dev eth0", number + 1));
        host.ip("link set eth0 up");
    }
    let mac = |number: u8| Mac([2, 0, 0, 0, 0, number]);
    let interface = interface_for(vip).unwrap();
    assert_eq!((interface.name.as_str(), interface.prefix), ("hp-br", 24));
    let ask = || who_has(vip, &interface, Duration::from_millis(150)).unwrap();
    let until = |wanted: &[Mac]| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while ask() != wanted {
            assert!(
                Instant::now() < deadline,
                "{wanted:?} never answered alone, but {:?}",
                ask()
            );
        }
    };

    let interval = Duration::from_millis(20);
    let watch = ArpWatch::start(vip, &interface, interval, Instant::now()).unwrap();
    until(&[]);
    hosts[0].ip("addr add 192.0.2.200/32 dev eth0");
    until(&[mac(0)]);
    hosts[1].ip("addr add 192.0.2.200/32 dev eth0");
    until(&[mac(0), mac(1)]);
    hosts[0].ip("addr del 192.0.2.200/32 dev eth0");
    until(&[mac(1)]);
    let log = watch.stop();

    let mut seen: Vec<Vec<Mac>> = log.rounds.iter().map(|r| r.macs.clone()).collect();
    seen.iter_mut().for_each(|macs| macs.sort());
    seen.dedup();
    let mut story = seen.iter();
    for wanted in [vec![], vec![mac(0)], vec![mac(0), mac(1)], vec![mac(1)]] {
        assert!(
            story.any(|macs| *macs == wanted),
            "{wanted:?} is missing, in order, from {seen:?}"
        );
    }
    let own = interface_for("192.0.2.9".parse().unwrap()).unwrap_err();
    assert!(own.to_string().contains("is an address of this machine"), "{own}");
    // A stranger's network is not asked.
    assert!(interface_for("198.51.100.1".parse().unwrap()).is_err());
}

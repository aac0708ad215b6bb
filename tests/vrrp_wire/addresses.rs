//! Addresses on the interfaces, and what the neighbours are told of them.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::capture::{Capture, Frame};
use crate::net::{Engine, FAST, PASS, Pair, Split, Trace, VIP, able, able_with_keepalived, config, until};

#[test]
fn a_reload_changes_only_what_differs() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    // One step of priority is 4 ms of skew: started together, the lower one may be first.
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    // On the owner alone: the standby raises an alarm and does not become a second owner.
    pair.a
        .write(&config(201, VIP, PASS).replace("10.77.0.99/24", "10.77.0.99/24\n 10.77.0.98/24"));
    pair.a.signal(libc::SIGHUP);
    until("the new address", || pair.a.owns("10.77.0.98"));
    until("the alarm", || pair.b.log().contains("VIP list differs"));
    pair.settle(true, VIP);
    pair.a.write("vrrp_instance VI_1 {\n interface eth0\n");
    let (_, done) = pair.a.agent(&["reload"]);
    assert!(!done, "a broken configuration is refused");
    assert!(pair.a.owns("10.77.0.98"));
    pair.a.write(&config(201, VIP, PASS));
    assert!(pair.a.agent(&["reload"]).1);
    until("the address is gone again", || !pair.a.owns("10.77.0.98"));
    assert!(pair.a.owns(VIP));
    assert_eq!(pair.a.instance()["statistics"]["became_master"], 1);
    assert_eq!(pair.b.instance()["statistics"]["became_master"], 0);
}

#[test]
fn what_others_remove_is_added_again_and_a_lost_link_is_a_fault() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    pair.a.net.ip("addr del 10.77.0.99/24 dev eth0");
    until("the address is back", || pair.a.owns(VIP));
    pair.wire.ip("link set dev port1 down");
    until("fault", || pair.a.instance()["state"] == "FAULT");
    pair.settle(false, VIP);
    pair.wire.ip("link set dev port1 up");
    pair.settle(true, VIP);
}

/// Whether both hosts had the VIP at the same time, as far as two looks at one and one between them at the other can say.
fn two_owners(pair: &Pair) -> bool {
    pair.a.owns(VIP) && pair.b.owns(VIP) && pair.a.owns(VIP)
}

const OTHER: &str = "10.77.0.98";

fn with_other(config: &str) -> String {
    config.replace("10.77.0.99/24", "10.77.0.99/24\n 10.77.0.98/24")
}

/// Adds an address on a live pair, first on the owner and long after on the standby, and takes it away in the same order.
fn add_and_remove(owner: Engine, standby: Engine) {
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    let (a, b) = (config(201, VIP, FAST), config(200, VIP, FAST));
    pair.a.write(&a);
    pair.b.write(&b);
    pair.a.start(owner);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(standby);
    until("b waits", || match standby {
        Engine::Agent => pair.b.counter("received") > 1,
        Engine::Keepalived => pair.b.log().contains("Entering BACKUP STATE"),
    });
    pair.settle(true, VIP);
    for (a, b, there) in [(with_other(&a), with_other(&b), true), (a, b, false)] {
        for (host, text) in [(&pair.a, a), (&pair.b, b)] {
            host.write(&text);
            host.signal(libc::SIGHUP);
            if std::ptr::eq(host, &pair.a) {
                until("the owner has reloaded", || host.owns(OTHER) == there);
            }
            capture.forget();
            // So many adverts that a standby which does not count them has long become an owner.
            until("twenty adverts", || {
                assert!(!two_owners(&pair), "{}", pair.b.log());
                capture.read().len() >= 20
            });
        }
    }
    pair.settle(true, VIP);
    assert!(!pair.b.owns(OTHER));
}

#[test]
fn an_address_added_to_a_live_pair_never_makes_two_owners() {
    if able(&["keepalived"]) {
        add_and_remove(Engine::Agent, Engine::Agent);
        // What the standby makes of the difference is what counts; keepalived's own is not ours to change.
        add_and_remove(Engine::Keepalived, Engine::Agent);
    }
}

#[test]
fn keepalived_makes_two_owners_of_a_pair_in_that_state() {
    // Before and after, it accepts a list that differs.
    if !able_with_keepalived([2, 0, 0], [2, 3, 0]) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&with_other(&config(201, VIP, FAST)));
    pair.b.write(&config(200, VIP, FAST));
    pair.a.start(Engine::Keepalived);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Keepalived);
    until("two owners", || pair.a.owns(VIP) && pair.b.owns(VIP));
}

/// 255 addresses, as so many instances or as one.
fn crowd(priority: u8, instances: usize) -> String {
    let mut text = String::new();
    for n in 1..=instances {
        let vips = if instances == 1 { 1..=255 } else { n..=n };
        let vips: String = vips.map(|v| format!(" 10.77.1.{v}/32\n")).collect();
        // One message each, so that the calls can be counted.
        let _ = write!(
            text,
            "vrrp_instance V{n} {{\n interface eth0\n virtual_router_id {n}\n priority {priority}\n advert_int 1\n \
             garp_master_repeat 1\n garp_master_delay 0\n virtual_ipaddress {{\n{vips} }}\n}}\n"
        );
    }
    text
}

/// Netlink batches with new addresses, and calls that send frames, while 255 addresses come.
fn calls_of_a_takeover(instances: usize) -> (usize, usize) {
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    pair.a.write(&crowd(201, instances));
    pair.b.write(&crowd(200, instances));
    pair.a.start(Engine::Agent);
    until("a owns everything", || pair.a.owned() == 255);
    pair.b.start(Engine::Agent);
    let waits = |i: &serde_json::Value| i["owner"]["priority"] == 201;
    until("b has heard every owner", || {
        pair.b.status()["instances"]
            .as_array()
            .is_some_and(|all| all.len() == instances && all.iter().all(waits))
    });
    let trace = Trace::attach(&pair.b, "sendto,sendmsg,sendmmsg");
    capture.forget();
    pair.a.end(libc::SIGTERM);
    until("b owns everything", || pair.b.owned() == 255);
    let told = |f: &Frame| matches!(f, Frame::Garp { vip, .. } if vip.octets()[2] == 1);
    until("every neighbour is told", || capture.count(told) >= 255);
    let text = trace.end();
    let batches = text.lines().filter(|l| l.contains("RTM_NEWADDR")).count();
    let bursts = text.lines().filter(|l| l.contains("AF_PACKET")).count();
    assert!(!text.contains(" sendmsg("), "one by one: {text}");
    (batches, bursts)
}

#[test]
fn many_addresses_move_as_one_batch() {
    if !able(&["strace"]) {
        return;
    }
    assert_eq!(calls_of_a_takeover(1), (1, 1));
    // Every instance has a timer of its own; what ends together moves together.
    let (batches, bursts) = calls_of_a_takeover(255);
    assert!(
        (1..64).contains(&batches) && (1..64).contains(&bursts),
        "{batches} batches, {bursts} bursts"
    );
}

#[test]
fn neighbours_are_told_again_after_a_healed_split() {
    if !able(&["keepalived"]) {
        return;
    }
    // keepalived yields without a word unless it is told not to; then nobody can know that there was a split.
    told_again_after_a_split(Engine::Keepalived, "higher_prio_send_advert");
    told_again_after_a_split(Engine::Agent, "");
}

fn told_again_after_a_split(loser: Engine, its_words: &str) {
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.a.net);
    pair.split(Split::Apart);
    // No second round of announcements that could be taken for the one we want.
    pair.a.write(&config(
        201,
        VIP,
        &format!("{FAST}\n garp_master_delay 0\n garp_lower_prio_delay 0"),
    ));
    pair.b.write(&config(200, VIP, &format!("{FAST}\n {its_words}")));
    pair.a.start(Engine::Agent);
    pair.b.start(loser);
    until("two owners, as there must be", || pair.a.owns(VIP) && pair.b.owns(VIP));
    let told = |f: &Frame| matches!(f, Frame::Garp { .. });
    until("a has told the neighbours", || capture.count(told) >= 5);
    capture.forget();
    let sent = pair.a.counter("sent");
    until("five adverts", || pair.a.counter("sent") > sent + 5);
    assert_eq!(capture.count(told), 0, "nothing is to be told now");
    pair.split(Split::Healed);
    pair.settle(true, VIP);
    let mac = pair.a.net.ip("-o link show dev eth0");
    let from_a = |f: &Frame| {
        let Frame::Garp { mac: m, .. } = f else { return false };
        let text: Vec<String> = m.iter().map(|b| format!("{b:02x}")).collect();
        mac.contains(&text.join(":"))
    };
    until("a tells the neighbours again", || capture.count(from_a) >= 5);
    assert!(pair.a.log().contains("heard an advert of lower priority"));
}

#[test]
fn neighbours_are_told_at_every_refresh() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.a.net);
    let more = format!("{FAST}\n garp_master_repeat 1\n garp_master_delay 0\n garp_master_refresh 1");
    pair.a.write(&config(201, VIP, &more));
    pair.a.start(Engine::Agent);
    // One at the takeover, and then one a refresh.
    let vip: Ipv4Addr = VIP.parse().unwrap();
    until("three refreshes", || {
        capture.count(|f| matches!(f, Frame::Garp { vip: v, .. } if *v == vip)) >= 4
    });
    // Five adverts a refresh: it is no burst at the beginning.
    assert!(pair.a.counter("sent") >= 10, "{}", pair.a.instance());
}

#[test]
fn neighbours_learn_of_another_hardware_address_at_once() {
    if !able(&["bash"]) {
        return;
    }
    const MAC: [u8; 6] = [0x02, 0, 0, 0x77, 0, 0x99];
    let change = |pair: &Pair| {
        pair.a.net.ip("link set dev eth0 address 02:00:00:77:00:99");
    };
    // Nothing else would tell them.
    let quiet = format!("{FAST}\n garp_master_refresh 0\n garp_master_repeat 3\n garp_master_delay 1");
    let mut pair = Pair::new();
    let mut capture = Capture::new(&pair.b.net);
    pair.a.write(&config(201, VIP, &quiet));
    pair.a.start(Engine::Agent);
    let told =
        |f: &Frame, mac| matches!(f, Frame::Garp { vip, mac: m } if vip.to_string() == VIP && mac == (*m == MAC));
    until("the usual announcements", || capture.count(|f| told(f, false)) == 6);
    capture.forget();
    change(&pair);
    until("it is announced, and repeated", || {
        capture.count(|f| told(f, true)) == 6
    });
    assert_eq!(capture.count(|f| told(f, false)), 0);
    assert_eq!(pair.a.instance()["statistics"]["left_master"], 0);
    drop(pair);

    const VIP6: &str = "fd00:77::99";
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP6, &quiet));
    pair.a.start(Engine::Agent);
    until("owner", || pair.a.owns(VIP6));
    let known = |pair: &Pair| pair.b.net.ip(&format!("-6 neigh show {VIP6} dev eth0"));
    until("b knows where the VIP is", || {
        let ask = format!("echo >/dev/udp/{VIP6}/9");
        drop(pair.b.net.command("bash").args(["-c", &ask]).output());
        known(&pair).contains("lladdr")
    });
    assert!(!known(&pair).contains("02:00:00:77:00:99"));
    change(&pair);
    until("b knows the new place", || known(&pair).contains("02:00:00:77:00:99"));
}

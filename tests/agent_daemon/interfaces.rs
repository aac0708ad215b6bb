//! Interfaces and their addresses: delays, sources, announcements.

use std::time::{Duration, Instant};

use crate::host::{Host, VIP, able, instance, until};

#[test]
fn a_delayed_start_waits_but_leaves_no_old_address() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    host.ip(&format!("addr add {VIP}/24 dev eth0"));
    let delay = |seconds: &str| format!("global_defs {{\n vrrp_startup_delay {seconds}\n}}\n");
    host.start(&(delay("3600") + &instance("")), &[]);
    assert!(!host.owns(), "what a former life left is gone");
    assert_eq!(host.instance()["state"], "STOPPED");
    assert!(host.agent(&["reload"]).1);
    assert_eq!(host.instance()["state"], "STOPPED", "a reload does not cut it short");
    host.stop();
    host.start(&(delay("0.2") + &instance("")), &[]);
    until("owner", || host.owns());
}

#[test]
fn a_link_that_bounces_is_no_fault_while_its_delay_lasts() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let more = " track_interface {\n wire0 weight -10\n }";
    let delays = "interface_up_down_delays {\n eth0 255 0\n}\n";
    host.start(&(delays.to_owned() + &instance(more)), &[]);
    until("owner", || host.instance()["state"] == "MASTER");
    // Both ends lose their carrier; the one without a delay shows that the daemon knows.
    host.ip("link set wire0 down");
    until("the other end counts", || host.instance()["priority"] == 190);
    assert_ne!(host.instance()["state"], "FAULT");
    host.ip("link set wire0 up");
    until("both are back", || host.instance()["priority"] == 200);
    assert_eq!(host.instance()["statistics"]["left_master"], 0);
    // Without the delay it is a fault.
    host.write(&instance(more));
    assert!(host.agent(&["reload"]).1);
    host.ip("link set wire0 down");
    until("fault", || host.instance()["state"] == "FAULT");
}

#[test]
fn without_its_source_address_an_instance_is_in_fault() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    host.start(&instance(" mcast_src_ip 10.77.0.5\n track_src_ip"), &[]);
    until("fault", || host.instance()["state"] == "FAULT");
    host.ip("addr add 10.77.0.5/24 dev eth0");
    until("owner", || host.instance()["state"] == "MASTER");
    host.ip("addr del 10.77.0.5/24 dev eth0");
    until("fault again", || host.instance()["state"] == "FAULT");
}

#[test]
fn an_interface_that_leaves_a_bridge_is_still_there() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    host.ip("link add name x0 type veth peer name x1");
    host.ip("link set x0 up");
    host.ip("link set x1 up");
    host.ip("link add br0 type bridge");
    host.start(&instance(" track_interface {\n x0 weight -10\n }"), &[]);
    until("owner", || host.instance()["state"] == "MASTER");
    host.ip("link set eth0 master br0");
    host.ip("link set eth0 nomaster");
    // What is told after it has been seen.
    host.ip("link set x1 down");
    until("later news", || host.instance()["priority"] == 190);
    let instance = host.instance();
    assert_eq!(
        (&instance["state"], &instance["source"]),
        (&"MASTER".into(), &"10.77.0.1".into())
    );
    assert_eq!(instance["statistics"]["left_master"], 0);
}

#[test]
fn gratuitous_arps_are_spaced_and_all_sent() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let tap = host.tap("wire0");
    let reader = std::thread::spawn(move || {
        let mut times = Vec::new();
        while times.len() < 4 {
            let Some(frame) = tap.next() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            // ARP whose sender and target address are the VIP.
            if frame.len() >= 42
                && frame[12..14] == [8, 6]
                && frame[28..32] == [10, 77, 0, 99]
                && frame[38..42] == [10, 77, 0, 99]
            {
                times.push(Instant::now());
            }
        }
        times
    });
    let group = "garp_group {\n garp_interval 0.4\n interface eth0\n}\n";
    host.start(
        &(group.to_owned() + &instance(" garp_master_repeat 4\n garp_master_delay 0")),
        &[],
    );
    let times = reader.join().unwrap();
    // Half of the pause: what this test sees may be late, what was sent was not early.
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > Duration::from_millis(200), "{times:?}");
    }
    assert_eq!(
        host.instance()["statistics"]["left_master"],
        0,
        "adverts go on meanwhile"
    );
}

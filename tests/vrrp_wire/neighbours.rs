//! Who is heard, and what is wrong around a host, is named: in status, metrics and log.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use hapair::vrrp::packet::GROUP4;
use hapair::vrrp::{Advert, Form};
use serde_json::Value;

use crate::forger::{Forger, advert};
use crate::net::{Engine, Host, PASS, Pair, Tap, VIP, able, config, until};

/// A sender, and what the owner says of it.
struct Case {
    src: Ipv4Addr,
    ttl: u8,
    advert: Advert,
    verdict: &'static str,
    why: &'static str,
}

fn case(last: u8, verdict: &'static str, why: &'static str, change: impl FnOnce(&mut Advert)) -> Case {
    // Below the owner's priority, so that one that counts changes nothing either.
    let mut advert = advert(2, 90);
    change(&mut advert);
    Case {
        src: Ipv4Addr::new(10, 77, 0, last),
        ttl: 255,
        advert,
        verdict,
        why,
    }
}

fn cases() -> Vec<Case> {
    let other = IpAddr::from([10, 77, 0, 50]);
    let mut routed = case(15, "ttl", "the time to live is 254", |_| ());
    routed.ttl = 254;
    vec![
        case(10, "accepted", "", |_| ()),
        case(11, "password", "the password is wrong", |a| {
            a.auth_data = *b"nonsense";
        }),
        case(12, "auth_type", "the authentication type is 0", |a| {
            (a.auth_type, a.auth_data) = (0, [0; 8]);
        }),
        case(13, "interval", "the advert interval is 5 s", |a| a.interval = 5),
        case(14, "version", "the version is 3", |a| {
            (a.version, a.auth_type, a.auth_data) = (3, 0, [0; 8]);
        }),
        routed,
        case(16, "foreign", "another cluster: it announces 10.77.0.50", |a| {
            a.addresses = vec![other];
        }),
        case(
            17,
            "list_differs",
            "its VIP list differs from ours: 10.77.0.99, 10.77.0.50",
            |a| a.addresses.push(other),
        ),
    ]
}

fn send(forger: &Forger, src: Ipv4Addr, ttl: u8, advert: &Advert) {
    let payload = advert.encode(src.into(), IpAddr::V4(GROUP4), Form::Plain);
    forger.send(src, GROUP4, ttl, &payload);
}

/// The owner, and somebody on its segment.
fn owner_and_forger() -> (Pair, Host, Forger) {
    let pair = Pair::owned_by_a();
    let stranger = pair.stranger();
    stranger.net.ip("route add 224.0.0.0/4 dev eth0");
    let forger = Forger::new(&stranger.net);
    (pair, stranger, forger)
}

fn row(instance: &Value, address: Ipv4Addr) -> Value {
    let rows = instance["neighbours"].as_array().cloned().unwrap_or_default();
    let found = rows.into_iter().find(|n| n["address"] == address.to_string());
    found.unwrap_or_default()
}

fn warned(host: &Host, text: &str) -> bool {
    let status = host.status();
    let mut lines = status["warnings"].as_array().into_iter().flatten();
    lines.any(|line| line.as_str().is_some_and(|line| line.contains(text)))
}

/// Lines of the log with both texts.
fn lines(host: &Host, what: &str, src: &str) -> usize {
    let log = host.log();
    log.lines().filter(|l| l.contains(what) && l.contains(src)).count()
}

#[test]
fn every_neighbour_is_named_with_why_it_does_not_count_and_said_once() {
    if !able(&[]) {
        return;
    }
    let (pair, _stranger, forger) = owner_and_forger();
    let before = pair.a.counter("left_master");
    for _ in 0..20 {
        for c in &cases() {
            send(&forger, c.src, c.ttl, &c.advert);
        }
    }
    let last = Ipv4Addr::new(10, 77, 0, 17);
    until("they are heard", || row(&pair.a.instance(), last)["packets"] == 20);
    let instance = pair.a.instance();
    let (text, metrics) = (pair.a.agent(&["status"]).0, pair.a.agent(&["metrics"]).0);
    for c in cases() {
        let n = row(&instance, c.src);
        let counts = matches!(c.verdict, "accepted" | "list_differs");
        assert_eq!(n["verdict"], c.verdict, "{n}");
        assert_eq!(n["why"].as_str().unwrap_or_default(), c.why, "{n}");
        assert_eq!((&n["accepted"], &n["packets"]), (&counts.into(), &20.into()), "{n}");
        assert_eq!(n["priority"], 90, "{n}");
        assert_eq!(n["version"], c.advert.version, "{n}");
        assert!(
            n["seconds_since_first"].as_f64() >= n["seconds_since_last"].as_f64(),
            "{n}"
        );
        let (src, version) = (c.src, c.advert.version);
        let begin = format!("  neighbour {src}, priority 90, version {version}, 20 packets, the last ");
        let end = match (counts, c.why) {
            (true, "") => " s ago: accepted".to_owned(),
            (true, why) => format!(" s ago: accepted, but {why}"),
            (false, why) => format!(" s ago: refused: {why}"),
        };
        let is_it = |l: &str| l.starts_with(&begin) && l.ends_with(&end);
        assert!(text.lines().any(is_it), "{begin}…{end}\n{text}");
        let series = |l: &&str| {
            let labelled = |label: &str, value: &str| l.contains(&format!("{label}=\"{value}\""));
            l.starts_with("hapair_neighbour_packets")
                && labelled("address", &src.to_string())
                && labelled("verdict", c.verdict)
        };
        assert_eq!(metrics.lines().filter(series).count(), 1, "{src}\n{metrics}");
        if c.verdict != "accepted" {
            assert_eq!(
                lines(&pair.a, "\"level\"", &format!("\"{src}\"")),
                1 + usize::from(suspect(&c)),
                "{src}"
            );
        }
    }
    assert_eq!(pair.a.counter("left_master"), before);
    assert!(pair.a.owns(VIP));
}

/// It is refused and announces our VIP, so the owner suspects a second one. That is said with the first packet of a cause; the one that
/// is named is the first that is refused and still heard.
fn suspect(case: &Case) -> bool {
    case.verdict == "password"
}

#[test]
fn an_owner_that_refuses_another_one_suspects_it_until_it_is_gone() {
    if !able(&[]) {
        return;
    }
    let (mut pair, _stranger, _forger) = owner_and_forger();
    assert!(pair.a.instance()["second_owner"].is_null());
    // The real thing: the peer has another password, so both own the VIP.
    pair.b.write(&config(200, VIP, &PASS.replace("secret12", "nonsense")));
    pair.b.start(Engine::Agent);
    until("both own the VIP", || pair.b.owns(VIP));
    for (host, other) in [(&pair.a, "10.77.0.2"), (&pair.b, "10.77.0.1")] {
        until("the other owner is suspected", || {
            host.instance()["second_owner"] == other
        });
        let line = format!("VI_1: two owners suspected: {other} announces a VIP of ours");
        assert!(warned(host, &line), "{}", host.status());
        let text = host.agent(&["status"]).0;
        assert!(text.contains(&format!("warning: {line}")), "{text}");
        let metrics = host.agent(&["metrics"]).0;
        assert!(
            metrics.contains("hapair_two_owners_suspected{instance=\"VI_1\"} 1"),
            "{metrics}"
        );
        until("the log says it", || lines(host, "two owners suspected", other) == 1);
    }
    pair.b.end(libc::SIGTERM);
    until("there is one owner", || pair.a.instance()["second_owner"].is_null());
    assert!(!warned(&pair.a, "two owners"));
    // Who is refused and gone stays in the list of neighbours.
    assert_eq!(
        row(&pair.a.instance(), Ipv4Addr::new(10, 77, 0, 2))["verdict"],
        "password"
    );
}

#[test]
fn a_slow_owner_is_suspected_between_its_adverts_too() {
    if !able(&[]) {
        return;
    }
    let (pair, _stranger, forger) = owner_and_forger();
    let slow = case(13, "interval", "", |a| a.interval = 5);
    send(&forger, slow.src, 255, &slow.advert);
    until("it is suspected", || pair.a.instance()["second_owner"] == "10.77.0.13");
    // Longer than three of our own intervals.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(pair.a.instance()["second_owner"], "10.77.0.13");
}

#[test]
fn a_router_of_another_id_with_our_vip_is_named() {
    if !able(&[]) {
        return;
    }
    let (pair, _stranger, forger) = owner_and_forger();
    let src = Ipv4Addr::new(10, 77, 0, 3);
    let mut other = advert(2, 255);
    other.vrid = 77;
    let mut harmless = other.clone();
    (harmless.vrid, harmless.addresses) = (78, vec![IpAddr::from([10, 77, 0, 50])]);
    for _ in 0..10 {
        send(&forger, src, 255, &harmless);
        send(&forger, src, 255, &other);
    }
    until("it is heard", || pair.a.status()["other_routers"][0]["packets"] == 10);
    let status = pair.a.status();
    assert_eq!(status["other_routers"].as_array().map(Vec::len), Some(1), "{status}");
    let router = &status["other_routers"][0];
    let wanted = ("10.77.0.3", 77, VIP, "eth0");
    let is = |key: &str| router[key].as_str().unwrap_or_default();
    let vrid = router["virtual_router_id"].as_u64().unwrap_or_default();
    assert_eq!((is("address"), vrid, is("vip"), is("interface")), wanted);
    let line = "10.77.0.3 announces our VIP 10.77.0.99 under virtual_router_id 77";
    assert!(warned(&pair.a, line), "{status}");
    assert!(pair.a.agent(&["metrics"]).0.contains("\nhapair_other_routers 1\n"));
    assert_eq!(lines(&pair.a, line, "eth0"), 1);
    assert!(pair.a.owns(VIP));
}

#[test]
fn a_vip_that_somebody_else_put_on_the_standby_is_named_and_stays() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::owned_by_a();
    pair.b.write(&config(200, VIP, PASS));
    // What is there at the start is taken off.
    pair.b.net.ip(&format!("addr add {VIP}/24 dev eth0"));
    pair.b.start(Engine::Agent);
    until("the standby runs", || {
        pair.b.instance()["owner"]["address"] == "10.77.0.1"
    });
    pair.settle(true, VIP);
    assert!(!warned(&pair.b, VIP), "{}", pair.b.status());
    // LVS has its VIPs there, on purpose.
    pair.b.net.ip(&format!("addr add {VIP}/32 dev lo"));
    pair.b.net.ip(&format!("addr add {VIP}/24 dev eth0"));
    let log = "a VIP is on an interface where no instance of this host put it";
    until("the log says it", || lines(&pair.b, log, VIP) > 0);
    let line = format!("the VIP {VIP} is on eth0, where no instance of this host put it");
    assert!(warned(&pair.b, &line), "{}", pair.b.status());
    assert!(!warned(&pair.b, "is on lo"), "{}", pair.b.status());
    assert!(pair.b.agent(&["metrics"]).0.contains("\nhapair_uninvited_vips 1\n"));
    assert_eq!((lines(&pair.b, log, VIP), pair.b.owns(VIP)), (1, true));
    pair.b.net.ip(&format!("addr del {VIP}/24 dev eth0"));
    until("it is not named any more", || !warned(&pair.b, &line));
    // The owner's own addresses are not.
    assert!(!warned(&pair.a, VIP), "{}", pair.a.status());
}

#[test]
fn a_flood_of_forged_senders_fills_neither_log_nor_metrics_nor_hides_the_peer() {
    if !able(&[]) {
        return;
    }
    let (mut pair, _stranger, forger) = owner_and_forger();
    let refused = case(0, "", "", |a| a.auth_data = *b"nonsense").advert;
    for n in 0..2000u16 {
        let [high, low] = n.to_be_bytes();
        send(&forger, Ipv4Addr::new(10, 78, high, low), 255, &refused);
    }
    until("the flood is heard", || pair.a.counter("ignored") >= 1900);
    pair.b.write(&config(200, VIP, PASS));
    pair.b.start(Engine::Agent);
    until("the peer is elected beside", || {
        pair.b.instance()["owner"]["priority"] == 201
    });
    pair.a.agent(&["handover", "1"]);
    until("b owns the VIP", || pair.b.owns(VIP));
    until("the peer is named", || {
        row(&pair.a.instance(), Ipv4Addr::new(10, 77, 0, 2))["verdict"] == "accepted"
    });
    let named = pair.a.instance()["neighbours"].as_array().map_or(0, Vec::len);
    assert!(named <= 32, "{named}");
    let metrics = pair.a.agent(&["metrics"]).0;
    let series = |l: &&str| l.starts_with("hapair_neighbour_packets");
    assert!(metrics.lines().filter(series).count() <= 32, "{metrics}");
    let said = lines(&pair.a, "adverts are ignored", "10.78.");
    assert!((1..=32).contains(&said), "{said} lines");
}

/// Whether an ARP request for somebody else has come.
fn is_asked(tap: &mut Tap) -> bool {
    let mut frames = std::iter::from_fn(|| tap.next());
    frames.any(|f| f.get(12..14) == Some(&[8, 6]) && f.get(38..42) == Some(&[10, 77, 0, 7]))
}

#[test]
fn another_host_with_our_own_address_is_named() {
    if !able(&[]) {
        return;
    }
    let pair = Pair::owned_by_a();
    let stranger = pair.stranger();
    let mac = stranger.net.ip("-o link show dev eth0");
    let mac = mac
        .split_whitespace()
        .skip_while(|w| *w != "link/ether")
        .nth(1)
        .unwrap();
    let line = format!("another host on eth0, {mac}, uses our own address 10.77.0.1");
    // The kernel asks by ARP who has the address, naming its own.
    let ask = || {
        let send = || UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", "10.77.0.7:9"));
        drop(stranger.net.inside(send).join().unwrap());
    };
    let mut heard = Tap::on(&pair.a.net, "eth0");
    ask();
    until("a hears it", || is_asked(&mut heard));
    drop(heard);
    stranger.net.ip("addr flush dev eth0");
    stranger.net.ip("addr add 10.77.0.1/24 dev eth0");
    until("it is named", || {
        ask();
        warned(&pair.a, &line)
    });
    ask();
    let status = pair.a.status();
    let all = status["duplicate_addresses"].as_array().cloned().unwrap_or_default();
    let found = all.first().cloned().unwrap_or_default();
    let is = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (all.len(), is("address"), is("hardware_address")),
        (1, "10.77.0.1".into(), mac.into())
    );
    assert!(
        pair.a
            .agent(&["metrics"])
            .0
            .contains("\nhapair_duplicate_addresses 1\n")
    );
    assert!(pair.a.agent(&["status"]).0.contains(&format!("warning: {line}")));
    assert_eq!(lines(&pair.a, &line, "eth0"), 1);
    assert!(pair.a.owns(VIP));
    // The daemon has one packet socket, for hearing ARP and for sending. Each one makes its death some 10 ms longer, and the stop
    // step waits for that.
    let sockets = std::fs::read_to_string(format!("/proc/{}/net/packet", pair.a.pid())).unwrap();
    assert_eq!(sockets.lines().skip(1).count(), 1, "{sockets}");
}

#[test]
fn another_host_that_sends_from_our_ipv6_address_is_named() {
    if !able(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let mut stranger = pair.stranger();
    let vip = "fd00:77::99";
    let six = |priority| config(priority, vip, " version 3\n advert_int 0.2\n native_ipv6").replace("/24", "/64");
    pair.a.write(&six(201));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(vip));
    let source = pair.a.instance()["source"].as_str().unwrap().to_owned();
    stranger.net.ip("-6 addr flush dev eth0");
    stranger.net.ip(&format!("addr add {source}/64 dev eth0 nodad"));
    stranger.write(&six(200));
    stranger.start(Engine::Agent);
    let line = format!("adverts of {source} are refused: it sends from our own address");
    until("it is named", || warned(&pair.a, &line));
    let said = "another host sends adverts from our own address";
    assert_eq!(lines(&pair.a, said, &source), 1);
}

/// Prometheus takes no page on which a series stands twice.
#[test]
fn a_sender_of_many_kinds_of_bad_packets_has_one_series_for_each() {
    if !able(&[]) {
        return;
    }
    let (pair, _stranger, forger) = owner_and_forger();
    let src = Ipv4Addr::new(10, 77, 0, 3);
    let good = advert(2, 90).encode(src.into(), IpAddr::V4(GROUP4), Form::Plain);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let (checksum, kind, version) = (changed(6, !good[6]), changed(0, 0x22), changed(0, 0x41));
    for bytes in [&checksum[..], &kind, &version, &good[..12]] {
        forger.send(src, GROUP4, 255, bytes);
    }
    until("they are refused", || pair.a.counter("ignored") == 4);
    let metrics = pair.a.agent(&["metrics"]).0;
    let series = metrics.lines().filter(|l| !l.starts_with('#'));
    let names: Vec<&str> = series.map(|l| l.rsplit_once(' ').map_or(l, |(name, _)| name)).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), different.len(), "{metrics}");
    let of_it = |l: &&&str| l.starts_with("hapair_neighbour_packets{") && l.contains("\"10.77.0.3\"");
    assert_eq!(names.iter().filter(of_it).count(), 4, "{metrics}");
}

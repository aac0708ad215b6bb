//! Packets of real implementations (tests/vrrp_vectors.txt), both directions, and what we make of crafted ones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use hapair::state::arp::{self, Mac};
use hapair::vrrp::packet::{self, Advert, Form};
use hapair::vrrp::{
    Alarm, GarpTimes, Ignored, Input, Output, Packet, PacketError, Peer, Router, Settings, State, Time, frame,
};

struct Record {
    kind: String,
    name: String,
    fields: HashMap<String, String>,
}

impl Record {
    fn text(&self, key: &str) -> &str {
        self.fields
            .get(key)
            .unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> T {
        self.text(key)
            .parse()
            .unwrap_or_else(|_| panic!("{}: {key}", self.name))
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        let text = self.text(key);
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    fn addr(&self, key: &str) -> IpAddr {
        self.number(key)
    }

    fn vips(&self) -> Vec<IpAddr> {
        self.text("vips").split(',').map(|a| a.parse().unwrap()).collect()
    }
}

fn records(kind: &str) -> Vec<Record> {
    let found: Vec<Record> = include_str!("vrrp_vectors.txt")
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
        .map(|line| {
            let (fields, name) = line.split_once(" # ").unwrap();
            let mut words = fields.split(' ');
            let kind = words.next().unwrap().to_owned();
            let fields = words
                .map(|w| w.split_once('=').unwrap())
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect();
            Record {
                kind,
                name: name.to_owned(),
                fields,
            }
        })
        .filter(|r| r.kind == kind)
        .collect();
    assert!(!found.is_empty(), "no {kind} in the file");
    found
}

#[test]
fn captured_adverts_decode_and_encode_to_the_same_bytes() {
    for r in records("advert") {
        let (src, dst, message) = (r.addr("src"), r.addr("dst"), r.bytes("message"));
        let form = if r.text("form") == "plain" {
            Form::Plain
        } else {
            Form::Pseudo
        };
        let advert = Advert {
            version: r.number("version"),
            vrid: r.number("vrid"),
            priority: r.number("priority"),
            interval: r.number("interval"),
            auth_type: r.number("auth_type"),
            auth_data: r.bytes("auth_data").try_into().unwrap(),
            addresses: r.vips(),
        };
        assert_eq!(
            Advert::decode(&message, src, dst),
            Ok((advert.clone(), form)),
            "{}",
            r.name
        );
        assert_eq!(advert.encode(src, dst, form), message, "{}", r.name);
        let (Some(frame), IpAddr::V4(src), IpAddr::V4(dst)) = (r.fields.get("frame"), src, dst) else {
            continue;
        };
        assert!(!frame.is_empty());
        let frame = r.bytes("frame");
        let ip = frame::parse_ipv4(&frame[14..]).unwrap();
        assert_eq!(
            (ip.src, ip.dst, ip.ttl, ip.payload),
            (src, dst, r.number("ttl"), &message[..]),
            "{}",
            r.name
        );
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        assert_eq!(
            frame::build_ipv4(src, dst, ip.ttl, id, &message),
            frame[14..],
            "{}",
            r.name
        );
    }
}

#[test]
fn settings_make_keepalived_s_adverts() {
    for r in records("advert").iter().filter(|r| r.number::<u8>("auth_type") != 2) {
        let version = r.number("version");
        let unit = if version == 2 { 1000 } else { 10 };
        let mut s = settings(version, r.number("vrid"));
        s.advert_int = Duration::from_millis(r.number::<u64>("interval") * unit);
        s.auth = (r.number::<u8>("auth_type") == 1).then(|| r.bytes("auth_data").try_into().unwrap());
        s.vips = r.vips();
        let sent = s
            .advert(r.number("priority"))
            .encode(r.addr("src"), r.addr("dst"), s.form);
        assert_eq!(sent, r.bytes("message"), "{}", r.name);
    }
}

#[test]
fn announcements_are_keepalived_s_byte_for_byte() {
    for r in records("announce") {
        let mac = r.bytes("mac").try_into().unwrap();
        let frame = match r.addr("address") {
            IpAddr::V4(address) => arp::broadcast(Mac(mac), &arp::announcement(Mac(mac), address)).into(),
            IpAddr::V6(address) => frame::neighbour_advertisement(mac, address),
        };
        assert_eq!(frame, r.bytes("frame"), "{}", r.name);
    }
}

/// What is meant by "accept" and "ignore": whether who waits takes over although the packet comes every second.
#[test]
fn verdicts_on_crafted_packets() {
    let mut wrong = Vec::new();
    for r in records("verdict") {
        let vrid: u8 = r.number("vrid");
        let bytes = r.bytes("packet");
        let mut router = Router::new(settings(if vrid < 30 { 2 } else { 3 }, vrid));
        let mut out = router.handle(Time::ZERO, Input::Start { crashed: false });
        let mut now = Time::ZERO;
        let every = match r.fields.contains_key("every") {
            true => Duration::from_millis(r.number("every")),
            false => Duration::from_secs(1),
        };
        while now < Duration::from_secs(10) {
            let before: Vec<Output> = advance(&mut router, now, every);
            out.extend(before);
            now += every;
            let ip = frame::parse_ipv4(&bytes).unwrap();
            let packet = Packet {
                src: ip.src.into(),
                dst: ip.dst.into(),
                ttl: ip.ttl,
                payload: ip.payload,
            };
            out.extend(router.handle(now, Input::Packet(packet)));
        }
        let took_over = out
            .iter()
            .any(|o| matches!(o, Output::Transition { to: State::Master, .. }));
        let verdict = if took_over { "ignore" } else { "accept" };
        let why = out.iter().find_map(|o| match o {
            Output::Alarm(Alarm::VipMismatch { .. }) => Some("vips"),
            Output::Alarm(Alarm::Foreign { .. }) => Some("foreign"),
            Output::Alarm(Alarm::Ignored { reason, .. }) => Some(name(reason)),
            Output::LowerHeard { .. } => Some("lower"),
            _ => None,
        });
        if (verdict, why.unwrap_or("-")) != (r.text("ours"), r.text("why")) {
            wrong.push(format!("vrid {vrid} {}: {verdict} {why:?}", r.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Only where the table in the module's documentation says so.
#[test]
fn verdicts_differ_from_keepalived_only_where_documented() {
    let differ: Vec<String> = records("verdict")
        .into_iter()
        .filter(|r| r.text("keepalived") != r.text("ours"))
        .map(|r| r.text("vrid").to_owned())
        .collect();
    assert_eq!(differ, ["4", "32", "37"]);
}

#[test]
fn an_authentication_trailer_is_no_part_of_the_message() {
    for r in records("pdu") {
        let (src, dst, bytes) = (r.addr("src"), r.addr("dst"), r.bytes("message"));
        let wanted = bytes.len() - r.number::<usize>("trailer");
        assert_eq!(
            Advert::decode(&bytes, src, dst),
            Err(PacketError::TooLong {
                got: bytes.len(),
                wanted
            }),
            "{}",
            r.name
        );
        if src.is_ipv4() {
            // Its checksum does not cover the trailer.
            let (advert, form) = Advert::decode(&bytes[..wanted], src, dst).unwrap();
            assert_eq!((advert.vrid, advert.priority, advert.interval), (51, 200, 100));
            assert_eq!((advert.addresses, form), (r.vips(), Form::Plain));
        }
    }
}

#[test]
fn the_peer_s_form_of_checksum_is_answered_in_kind() {
    let group = IpAddr::V4(packet::GROUP4);
    let theirs: IpAddr = "10.77.0.1".parse().unwrap();
    for form in [Form::Plain, Form::Pseudo, Form::PseudoGroup] {
        let mut s = settings(3, 9);
        s.peers = Some(vec![Peer {
            ip: theirs,
            ttl: (0, 255),
        }]);
        let advert = s.advert(50);
        let ours = s.source;
        let mut router = Router::new(s);
        router.handle(Time::ZERO, Input::Start { crashed: false });
        let payload = advert.encode(theirs, ours, form);
        let packet = Packet {
            src: theirs,
            dst: ours,
            ttl: 255,
            payload: &payload,
        };
        router.handle(Time::from_millis(10), Input::Packet(packet));
        let sent = advance(&mut router, Time::from_millis(10), Duration::from_secs(5));
        let sent = sent.iter().find_map(|o| match o {
            Output::Send { form, .. } => Some(*form),
            _ => None,
        });
        assert_eq!(sent, Some(form));
        assert_ne!(
            advert.encode(theirs, ours, Form::Plain),
            advert.encode(theirs, group, Form::Pseudo)
        );
    }
}

#[test]
fn an_interval_of_zero_is_no_storm() {
    let s = settings(3, 7);
    let mut advert = s.advert(200);
    advert.interval = 0;
    let (src, dst) = ("10.77.0.1".parse().unwrap(), IpAddr::V4(packet::GROUP4));
    let payload = advert.encode(src, dst, Form::Pseudo);
    let mut router = Router::new(s);
    router.handle(Time::ZERO, Input::Start { crashed: false });
    let out = router.handle(
        Time::ZERO,
        Input::Packet(Packet {
            src,
            dst,
            ttl: 255,
            payload: &payload,
        }),
    );
    assert!(out.is_empty(), "{out:?}");
    // Three times 10 ms and the skew of priority 100.
    assert_eq!(
        router.next_timer(),
        Some(Duration::from_millis(30) + Duration::from_millis(10) * 156 / 256)
    );
}

fn name(reason: &Ignored) -> &'static str {
    match reason {
        Ignored::Packet(_) => "Packet",
        Ignored::Password => "Password",
        Ignored::AuthType(_) => "AuthType",
        Ignored::Interval(_) => "Interval",
        Ignored::Ttl(_) => "Ttl",
        Ignored::Version(_) => "Version",
        Ignored::Destination(_) => "Destination",
        _ => "other",
    }
}

fn settings(version: u8, vrid: u8) -> Settings {
    Settings {
        version,
        vrid,
        priority: 100,
        advert_int: Duration::from_secs(1),
        source: "10.77.0.2".parse().unwrap(),
        vips: vec![IpAddr::from([10, 77, 100, vrid])],
        auth: (version == 2).then_some(*b"secret12"),
        auth_hmac: None,
        peers: None,
        preempt: true,
        preempt_delay: Duration::ZERO,
        crash_hold: Duration::from_secs(60),
        down_adverts: 3,
        lower_prio_no_advert: false,
        higher_prio_send_advert: false,
        skip_check_adv_addr: false,
        form: Form::Pseudo,
        garp: GarpTimes::default(),
    }
}

/// Lets time pass, ticking when asked.
fn advance(router: &mut Router, from: Time, by: Duration) -> Vec<Output> {
    let mut out = Vec::new();
    while let Some(at) = router.next_timer().filter(|at| *at < from + by) {
        out.extend(router.handle(at.max(from), Input::Tick));
    }
    out
}

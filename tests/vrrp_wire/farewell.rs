//! After a crash the peers are told in a form that they understand: a keepalived ignores an advert whose checksum it makes otherwise.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use hapair::vrrp::packet::GROUP4;
use hapair::vrrp::{Advert, Form};

use crate::capture::Capture;
use crate::hmac::unicast;
use crate::net::{Engine, FAST, Net, Pair, VIP, able, config, until};

const OWNER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Sends a VRRP message from `eth0` of a namespace, with TTL 255.
fn send(net: &Net, message: &[u8], to: Ipv4Addr) {
    let inside = fs::File::open(net.path()).unwrap();
    let message = message.to_vec();
    let sent = std::thread::spawn(move || {
        // SAFETY: plain system calls; pointers and lengths describe locals.
        unsafe {
            assert_eq!(libc::setns(inside.as_raw_fd(), libc::CLONE_NEWNET), 0);
            let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW, 112);
            assert!(fd >= 0);
            let fd = OwnedFd::from_raw_fd(fd);
            let ttl = 255i32;
            for option in [libc::IP_TTL, libc::IP_MULTICAST_TTL] {
                let set = libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_IP, option, (&raw const ttl).cast(), 4);
                assert_eq!(set, 0);
            }
            let mut interface: libc::ip_mreqn = std::mem::zeroed();
            interface.imr_ifindex = libc::if_nametoindex(c"eth0".as_ptr()) as i32;
            let (option, len) = (libc::IP_MULTICAST_IF, size_of::<libc::ip_mreqn>() as u32);
            let set = libc::setsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_IP,
                option,
                (&raw const interface).cast(),
                len,
            );
            assert_eq!(set, 0);
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as u16;
            address.sin_addr.s_addr = u32::from_ne_bytes(to.octets());
            let (at, len) = ((&raw const address).cast(), size_of::<libc::sockaddr_in>() as u32);
            libc::sendto(fd.as_raw_fd(), message.as_ptr().cast(), message.len(), 0, at, len)
        }
    });
    assert!(sent.join().unwrap() > 0, "{}", std::io::Error::last_os_error());
}

/// An advert of the peer, which is no better than the owner.
fn advert(form: Form, to: Ipv4Addr) -> Vec<u8> {
    let advert = Advert {
        version: 3,
        vrid: 51,
        priority: 100,
        interval: 20,
        auth_type: 0,
        auth_data: [0; 8],
        addresses: vec![VIP.parse().unwrap()],
    };
    advert.encode(PEER.into(), to.into(), form)
}

/// Forms of the last adverts of `a`, which crashes.
fn told_at_a_crash(pair: &mut Pair, capture: &mut Capture) -> Vec<Form> {
    capture.forget();
    pair.a.end(libc::SIGKILL);
    assert!(!pair.a.owns(VIP));
    capture.read();
    let last = capture.messages.iter().filter(|m| m.src == OWNER && m.bytes[2] == 0);
    last.map(|m| Advert::decode(&m.bytes, m.src.into(), m.dst.into()).unwrap().1)
        .collect()
}

#[test]
fn the_stop_step_sends_the_form_of_the_peer_and_both_forms_where_that_is_not_known() {
    if !able(&[]) {
        return;
    }
    let unicast = format!("{FAST}\n unicast_src_ip {OWNER}\n unicast_peer {{\n {PEER}\n }}");
    let cases = [
        (FAST, GROUP4, &[Form::Pseudo, Form::Plain][..]),
        (&unicast, PEER, &[Form::Pseudo, Form::Plain, Form::PseudoGroup]),
    ];
    for (more, to, all) in cases {
        let mut pair = Pair::new();
        let mut capture = Capture::new(&pair.b.net);
        pair.a.write(&config(201, VIP, more));
        pair.a.start(Engine::Agent);
        until("a owns the VIP", || pair.a.owns(VIP));
        assert_eq!(
            told_at_a_crash(&mut pair, &mut capture),
            [Form::Pseudo, Form::Plain],
            "nobody was heard"
        );
        for form in all {
            pair.a.start(Engine::Agent);
            until("a owns the VIP again", || pair.a.owns(VIP));
            let to_owner = if to == GROUP4 { to } else { OWNER };
            until("the form is noted", || {
                send(&pair.b.net, &advert(*form, to_owner), to_owner);
                let notes = fs::read_to_string(pair.a.dir.join("state/agent.addresses")).unwrap();
                let learned = format!(
                    "form {} VI_1",
                    match form {
                        Form::Plain => "plain",
                        Form::Pseudo => "pseudo",
                        Form::PseudoGroup => "pseudo-group",
                    }
                );
                notes.lines().any(|line| line == learned)
            });
            assert_eq!(told_at_a_crash(&mut pair, &mut capture), [*form]);
        }
    }
}

#[test]
fn a_keepalived_believes_the_owner_that_is_there_again_after_a_crash() {
    if !able(&["keepalived"]) {
        return;
    }
    // It has said nothing before, so nobody knows its form. In unicast a keepalived from 1.3.7 on that once hears the oldest form
    // refuses every other one from then on, and still speaks another one itself: two owners until it is started anew.
    let [a, b] = unicast(FAST, "10.77.0.");
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, &a));
    pair.b.write(&config(200, VIP, &b));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Keepalived);
    until("b waits", || pair.b.log().contains("Entering BACKUP STATE"));
    pair.settle(true, VIP);
    pair.a.end(libc::SIGKILL);
    pair.settle(false, VIP);
    pair.a.start(Engine::Agent);
    until("a hears the owner", || pair.a.instance()["owner"]["priority"] == 200);
    assert!(pair.a.agent(&["resume"]).1);
    pair.settle(true, VIP);
    let sent = pair.a.counter("sent");
    until("ten adverts", || pair.a.counter("sent") > sent + 10);
    pair.settle(true, VIP);
}

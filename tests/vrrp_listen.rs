//! Hearing strangers' adverts on real frames: two ends of a cable, in a network namespace of the test's own.
//!
//! Needs root and ip(8); without them it says so and does nothing else.
#![cfg(all(feature = "cli", feature = "agent"))]

mod left_out;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use hapair::host::os::root::Root;
use hapair::host::os::vrrp_listen::listen;
use hapair::vrrp::packet::{GROUP4, PROTOCOL};
use hapair::vrrp::{Advert, Form};
use socket2::{Domain, Protocol, Socket, Type};

const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn ip(args: &str) {
    let output = Command::new("ip")
        .args(args.split_whitespace())
        .output()
        .expect("ip runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {args}: {said}");
}

/// An advert of 192.0.2.50 from this address of ours.
fn send(from: Ipv4Addr, id: u8) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL)))).expect("a raw socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
    socket.set_multicast_if_v4(&from).expect("interface");
    let advert = Advert {
        version: 2,
        vrid: id,
        priority: 150,
        interval: 1,
        auth_type: 1,
        auth_data: *b"1111\0\0\0\0",
        addresses: vec![IpAddr::from([192, 0, 2, 50])],
    };
    let bytes = advert.encode(from.into(), GROUP4.into(), Form::Plain);
    socket
        .send_to(&bytes, &SocketAddrV4::new(GROUP4, 0).into())
        .expect("sent");
}

#[test]
fn a_strangers_advert_is_heard_once_and_nothing_else_is() {
    if !left_out::able(&["ip"]) {
        return;
    }
    // A thread of its own: the namespace ends with it.
    std::thread::spawn(in_own_namespace).join().expect("heard");
}

fn in_own_namespace() {
    // SAFETY: moves this thread into a network namespace of its own; no memory is involved.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(moved, 0, "{}", std::io::Error::last_os_error());
    ip("link add near type veth peer name far");
    ip("addr add 192.0.2.1/24 dev near");
    ip("addr add 192.0.2.254/24 dev far");
    ip("link set near up");
    ip("link set far up");
    // What is mounted at /sys shows the machine's own namespace.
    let dir = tempfile::tempdir().expect("a folder");
    let name = std::ffi::CString::new("near").expect("a name");
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let place = dir.path().join("sys/class/net/near");
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join("ifindex"), format!("{index}\n")).expect("written");
    let root = Root::at(dir.path());

    let heard = std::thread::scope(|scope| {
        // It is born in this thread's namespace.
        let listener = scope.spawn(|| listen(&root, "near", Duration::from_secs(2), |_| true).expect("listened"));
        let began = Instant::now();
        let other = UdpSocket::bind((SENDER, 0)).expect("bound");
        other.set_broadcast(true).expect("may");
        while began.elapsed() < Duration::from_millis(1500) {
            send(SENDER, 51);
            // What this host itself sends, and what is no VRRP.
            send(OWN, 77);
            let _ = other.send_to(b"hello", (Ipv4Addr::new(192, 0, 2, 255), 9));
            std::thread::sleep(Duration::from_millis(100));
        }
        listener.join().expect("listened")
    });
    let seen: Vec<(IpAddr, u8, u8)> = heard.iter().map(|(sender, a)| (*sender, a.vrid, a.priority)).collect();
    assert_eq!(seen, [(IpAddr::V4(SENDER), 51, 150)]);
    assert_eq!(heard[0].1.addresses, [IpAddr::from([192, 0, 2, 50])]);
}

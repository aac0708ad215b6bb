//! Another cluster on the segment with our `virtual_router_id` and password, which are everybody's examples.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hapair::vrrp::packet::{GROUP4, PROTOCOL};
use hapair::vrrp::{Advert, Form};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::*;
use crate::watch::in_runtime;

/// The controller's own address: to the pair it is a stranger.
const SENDER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 254);

/// Like a second pair's owner, better than both of ours: one advert a second until it is over.
pub(crate) fn adverts(over: &AtomicBool) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL)))).expect("a raw socket");
    socket.bind(&SocketAddr::from((SENDER, 0)).into()).expect("bound");
    socket.set_multicast_ttl_v4(255).expect("TTL");
    socket.set_multicast_if_v4(&SENDER).expect("interface");
    let advert = Advert {
        version: 2,
        vrid: 51,
        priority: 150,
        interval: 1,
        auth_type: 1,
        auth_data: *b"1111\0\0\0\0",
        addresses: vec![IpAddr::from([192, 168, 0, 50])],
    };
    let bytes = advert.encode(SENDER.into(), GROUP4.into(), Form::Plain);
    let to = SocketAddrV4::new(GROUP4, 0).into();
    while !over.load(Ordering::Relaxed) {
        assert_eq!(socket.send_to(&bytes, &to).expect("sent"), bytes.len());
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// How many of five requests through the VIP are answered in twelve seconds: longer than an election takes.
async fn answered() -> usize {
    let vip = SocketAddr::from(([192, 168, 0, 200], 80));
    let mut good = 0;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let answer = hapair::probe::http_once(vip, "vip", "/.hapair/health", Duration::from_secs(1)).await;
        good += usize::from(answer.is_ok_and(|a| a.status == 200));
    }
    good
}

#[test]
fn another_cluster_with_our_virtual_router_id_takes_no_vip_away_and_is_named() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| twins.outside(|| adverts(&over)));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(twins.outside(|| in_runtime(answered())), 5);
            twins.sh(MASTER, "ip -4 -o addr show | grep -q 192.168.0.200");
            assert_ne!(twins.try_sh(BACKUP, "ip -4 -o addr show | grep 192.168.0.200").code, 0);
            // keepalived tells nobody but its log.
            if engine() == "agent" {
                let named =
                    "VI_1: virtual_router_id 51 is in use by 192.168.0.254: another cluster: it announces 192.168.0.50";
                twins.hapair(&["status"]).says(named);
                // Something to do: an apply without a change is over before it looks.
                twins.write(&example_with(&[("\"10.0.0.12:8080\"", "\"10.0.0.12:8080 backup\"")]));
                twins.hapair(&["apply", "--yes"]).expect(0).says(named);
            }
        }));
        over.store(true, Ordering::Relaxed);
        stranger.join().expect("the stranger's adverts went out");
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

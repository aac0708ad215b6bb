//! What an apply on a living pair costs the clients: requests through the VIP all the while, each on a connection of its
//! own.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::*;
use crate::watch::in_runtime;

/// Clients at once.
const CLIENTS: usize = 4;

/// What the clients got.
#[derive(Debug, Default)]
struct Load {
    good: usize,
    /// Every other answer, and no answer within a second.
    failed: Vec<String>,
    /// Between two good answers, whoever got them.
    longest_gap: Duration,
}

/// Asks an upstream through the VIP until `work` is done.
fn under_load(twins: &Twins, work: impl FnOnce() + Send) -> Load {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let clients = scope.spawn(move || twins.outside(|| in_runtime(load(over))));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let load = clients.join().expect("clients");
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        load
    })
}

async fn load(over: &AtomicBool) -> Load {
    let clients = std::array::from_fn::<_, CLIENTS, _>(|_| client(over));
    let [a, b, c, d] = clients;
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    let mut load = Load::default();
    let mut good: Vec<Instant> = Vec::new();
    for (answers, failed) in [a, b, c, d] {
        good.extend(answers);
        load.failed.extend(failed);
    }
    good.sort();
    load.good = good.len();
    load.longest_gap = good.windows(2).map(|w| w[1] - w[0]).max().unwrap_or_default();
    load
}

async fn client(over: &AtomicBool) -> (Vec<Instant>, Vec<String>) {
    let address = SocketAddr::new("192.168.0.200".parse::<IpAddr>().expect("address"), 80);
    let (mut good, mut failed) = (Vec::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        match hapair::probe::http_once(address, "vip", "/", Duration::from_secs(1)).await {
            Ok(answer) if answer.status == 200 => good.push(Instant::now()),
            Ok(answer) => failed.push(format!("status {}", answer.status)),
            Err(error) => failed.push(error.to_string()),
        }
        // Ports are few, and the twins have to do something else as well.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    (good, failed)
}

#[test]
fn a_change_of_nginx_loses_no_request_and_one_of_the_engine_at_most_a_handover() {
    let twins = Twins::up_alone(EXAMPLE);
    twins.apply().expect(0);
    let before = under_load(&twins, || std::thread::sleep(Duration::from_secs(1)));
    assert!(before.failed.is_empty() && before.good > 20, "{before:?}");

    // Another weight, another server: both hosts reload.
    let more = example_with(&[
        ("\"10.0.0.11:8080\"", "\"10.0.0.11:8080 weight=3\""),
        (
            "    - listen: 80 #",
            "    - {listen: 8081, proxy_pass: app}\n    - listen: 80 #",
        ),
    ]);
    twins.write(&more);
    let load = under_load(&twins, || {
        let done = twins.apply().expect(0).summary();
        assert!(HOSTS.iter().all(|h| done["changed"][h] != 0), "{done}");
    });
    eprintln!("nginx changed: {} answered, {} lost", load.good, load.failed.len());
    assert!(load.failed.is_empty() && load.good > 100, "{load:?}");

    // Another program: what an upgrade of hapair brings.
    if engine() == "agent" {
        for host in HOSTS {
            twins.sh(
                host,
                "f=/usr/local/sbin/hapair-agent; cp $f $f.other; echo >> $f.other; mv -f $f.other $f",
            );
        }
        at_most_a_handover("agent upgraded", &twins);
    }

    let other = if engine() == "agent" { "keepalived" } else { "agent" };
    twins.write_with_engine(&more, other);
    at_most_a_handover(&format!("engine switched to {other}"), &twins);
}

/// The VIP goes to the other host and comes back: two graceful moves, none longer than one.
#[track_caller]
fn at_most_a_handover(what: &str, twins: &Twins) {
    let load = under_load(twins, || {
        let done = twins.apply().expect(0).summary();
        assert!(HOSTS.iter().all(|h| done["changed"][h] != 0), "{done}");
    });
    eprintln!(
        "{what}: {} answered, {} lost, longest gap {} ms",
        load.good,
        load.failed.len(),
        load.longest_gap.as_millis()
    );
    assert!(load.longest_gap < Duration::from_secs(2), "{what}: {load:?}");
}

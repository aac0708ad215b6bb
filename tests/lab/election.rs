//! Changes that decide the election, on a live pair, watched from outside.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::*;

/// What a client saw while something was done.
pub(crate) struct Seen {
    pub(crate) asked: usize,
    pub(crate) longest_outage: Duration,
    pub(crate) most_owners: usize,
}

/// Ends the watch when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks the VIP over HTTP and ARP all the while `work` runs.
pub(crate) fn watch(twins: &Twins, vip: IpAddr, work: impl FnOnce() + Send) -> Seen {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let watcher = scope.spawn(move || {
            twins.outside(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("runtime");
                runtime.block_on(look(vip, over))
            })
        });
        // Also when the work panics: the scope waits for the watcher.
        let end = End(over);
        work();
        drop(end);
        watcher.join().expect("watcher")
    })
}

async fn look(vip: IpAddr, over: &AtomicBool) -> Seen {
    let IpAddr::V4(v4) = vip else { panic!("IPv4 only") };
    let interface = hapair::probe::arp::interface_for(vip).expect("the controller is on the VIP's network");
    let mut seen = Seen {
        asked: 0,
        longest_outage: Duration::ZERO,
        most_owners: 0,
    };
    let mut last_good = Instant::now();
    let mut before = 0;
    while !over.load(Ordering::Relaxed) {
        let address = SocketAddr::new(vip, 80);
        let answer = hapair::probe::http_once(address, "vip", "/.hapair/health", Duration::from_millis(250)).await;
        seen.asked += 1;
        if answer.is_ok_and(|a| a.status == 200) {
            seen.longest_outage = seen.longest_outage.max(last_good.elapsed());
            last_good = Instant::now();
        }
        let owners = hapair::probe::arp::who_has(v4, &interface, Duration::from_millis(30)).expect("ARP");
        // A handover in the middle of one look shows both; two owners show in the next look too.
        seen.most_owners = seen.most_owners.max(owners.len().min(before));
        before = owners.len();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen.longest_outage = seen.longest_outage.max(last_good.elapsed());
    seen
}

#[test]
fn changes_that_decide_the_election_make_no_second_owner_and_lose_no_vip() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let steps: [(&str, &[(&str, &str)]); 3] = [
        ("auth_pass", &[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]),
        (
            "advert_int",
            &[
                ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
                ("advert_int: 1", "advert_int: 2"),
            ],
        ),
        (
            "virtual_ipaddress",
            &[
                ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
                ("advert_int: 1", "advert_int: 2"),
                ("[192.168.0.200/24]", "[192.168.0.200/24, 192.168.0.210/24]"),
            ],
        ),
    ];
    for (what, edits) in steps {
        twins.write(&example_with(edits));
        let seen = watch(&twins, vip, || {
            twins.apply().expect(0);
        });
        assert!(seen.asked > 5, "{what}: looked only {} times", seen.asked);
        assert!(seen.most_owners <= 1, "{what}: {} owners at once", seen.most_owners);
        // One missed look is 250 ms; an election would take at least 3 s.
        assert!(
            seen.longest_outage < Duration::from_secs(2),
            "{what}: VIP away for {:?}",
            seen.longest_outage
        );
    }
    twins.sh(MASTER, "ip -4 -o addr show | grep -q 192.168.0.210");
    twins.apply().expect(0);

    // One host alone would make two owners.
    twins.write(EXAMPLE);
    twins
        .hapair(&["apply", "--yes", "--limit", BACKUP])
        .expect(2)
        .says("--limit");
}

#[test]
fn an_election_critical_change_that_is_interrupted_halfway_makes_no_second_owner() {
    use std::io::{BufRead, BufReader};

    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.write(&example_with(&[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]));
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let seen = watch(&twins, vip, || {
        let mut child = twins.spawn(&["apply", "--yes", "--output", "json"]);
        let mut lines = BufReader::new(child.stdout.take().expect("stdout"))
            .lines()
            .map_while(Result::ok);
        // The owner has its new password; the standby, silent meanwhile, begins to get its own.
        let standby = format!("\"host\":\"{BACKUP}\"");
        assert!(
            lines
                .by_ref()
                .any(|l| l.contains("\"resource_started\"") && l.contains(&standby))
        );
        // SAFETY: signals the child this test started.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
        let rest: Vec<String> = lines.collect();
        let code = child.wait().expect("hapair ends").code();
        // Too late to be put back is as good: what counts is what the client sees.
        assert!(matches!(code, Some(0 | 1 | 5)), "{code:?}\n{}", rest.join("\n"));
    });
    assert!(seen.most_owners <= 1, "{} owners at once", seen.most_owners);
    assert!(
        seen.longest_outage < Duration::from_secs(2),
        "VIP away for {:?}",
        seen.longest_outage
    );
    twins.apply().expect(0);
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    assert_eq!(status["hosts"][1]["instances"][0]["state"], "BACKUP", "{status}");
}

#[test]
fn a_stopped_standby_gets_its_new_password_after_the_owner() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.sh(BACKUP, &format!("systemctl stop {}", engine_unit()));
    twins.write(&example_with(&[("auth_pass: \"1111\"", "auth_pass: \"n3wpass\"")]));
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let mut run = None;
    let seen = watch(&twins, vip, || run = Some(twins.apply()));
    run.expect("it ran").expect(0);
    assert!(seen.most_owners <= 1, "{} owners at once", seen.most_owners);
    assert!(
        seen.longest_outage < Duration::from_secs(2),
        "VIP away for {:?}",
        seen.longest_outage
    );
    let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
    assert_eq!(status["hosts"][1]["instances"][0]["state"], "BACKUP", "{status}");
}

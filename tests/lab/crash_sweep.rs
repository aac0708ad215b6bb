//! The crash sweep: an apply is cut after a step of its journal, then applied again. `HAPAIR_SWEEP` says after which:
//! nothing, a sample; `all`, every step of every host; `2/3`, every third of them, beginning with the second. Cuts that a
//! line of the file `HAPAIR_SWEEP_DONE` names are left out: a sweep of hours can be stopped and goes on from there.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::process::Child;
use std::time::Duration;

use crate::support::*;
use crate::watch::{Seen, watch_hosts};

const VIP: &str = "192.168.0.200";
/// More steps than any run has.
const MANY: usize = 100_000;
/// `advert_int` of the example: nobody may see two owners for longer.
const ADVERT: Duration = Duration::from_secs(1);
const APPLY: [&str; 6] = ["apply", "--yes", "--output", "json", "--confirm-timeout", "20"];

/// How a run is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// SIGKILL of `hapair`.
    Cli,
    /// SIGKILL of the SSH connection's both processes on the host.
    Connection,
    /// SIGKILL of the executor that works on the host.
    Executor,
    /// The host's plug is pulled, and put in again.
    Power,
}

/// Where a run is cut.
#[derive(Debug, Clone, Copy)]
struct Point {
    host: usize,
    step: usize,
    cut: Cut,
}

/// Which points are tried.
enum Share {
    Sample,
    Part { first: usize, of: usize },
}

fn share() -> Share {
    let Ok(text) = std::env::var("HAPAIR_SWEEP") else {
        return Share::Sample;
    };
    if text == "all" {
        return Share::Part { first: 0, of: 1 };
    }
    let (part, of) = text.split_once('/').expect("HAPAIR_SWEEP is `all` or like 2/3");
    let number = |t: &str| t.parse::<usize>().expect("a number");
    Share::Part {
        first: number(part) - 1,
        of: number(of),
    }
}

/// Steps of both hosts, each cut in three ways, and in a fourth after every eighth; or a sample.
fn points(steps: [usize; 2], sample: usize) -> Vec<Point> {
    let mut all = Vec::new();
    for (host, steps) in steps.into_iter().enumerate() {
        for step in 1..=steps {
            let ways = [Cut::Cli, Cut::Connection, Cut::Executor];
            all.extend(ways.map(|cut| Point { host, step, cut }));
            if step % 8 == 4 {
                let cut = Cut::Power;
                all.push(Point { host, step, cut });
            }
        }
    }
    match share() {
        Share::Part { first, of } => all.into_iter().skip(first).step_by(of).collect(),
        Share::Sample => {
            // Evenly over the run, each way as often as the others, the plug once.
            let ways = [Cut::Cli, Cut::Executor, Cut::Connection];
            let picked = (0..sample).map(|n| {
                let at = (2 * n + 1) * all.len() / (2 * sample);
                let cut = if n + 1 == sample { Cut::Power } else { ways[n % 3] };
                Point { cut, ..all[at] }
            });
            picked.collect()
        }
    }
}

/// Whether an earlier run of the sweep has seen this cut end well.
fn is_done((what, point): (&str, Point)) -> bool {
    let Ok(path) = std::env::var("HAPAIR_SWEEP_DONE") else {
        return false;
    };
    let done = std::fs::read_to_string(&path).expect("the file that HAPAIR_SWEEP_DONE names");
    let line = format!("{what}, {point:?}: as uncut");
    done.lines().any(|l| l.starts_with(&line))
}

/// An apply that is not cut; how many steps it took on each host.
fn uncut(twins: &Twins) -> [usize; 2] {
    HOSTS.iter().for_each(|host| twins.hold_after(host, MANY));
    twins.hapair(&APPLY).expect(0);
    HOSTS.map(|host| {
        let left: usize = twins.held(host).parse().expect("a number");
        twins.let_go(host);
        MANY - left
    })
}

/// An apply that is cut, until nothing of it works on any host any more. Whether the standby was silent by then, because
/// the owner changed what decides the election.
fn cut(twins: &Twins, point: Point) -> Silence {
    let host = HOSTS[point.host];
    twins.hold_after(host, point.step);
    let mut child = Talking::to_the_end(twins.spawn(&APPLY));
    wait_until("the step is reached", Duration::from_secs(120), || {
        assert!(!child.ended(), "ended before {point:?}: {}", child.said());
        twins.held(host) == "held"
    });
    match point.cut {
        Cut::Cli => child.kill(),
        Cut::Connection => twins.kill_connections(host),
        Cut::Executor => twins.kill_executor(host),
        Cut::Power => {
            let lab = twins.lab();
            lab.power_off(host).expect("off");
            lab.power_on(host).expect("on");
        }
    }
    twins.let_go(host);
    let code = child.wait();
    match point.cut {
        Cut::Cli => {}
        // It is followed over another one.
        Cut::Connection => assert_eq!(code, Some(0), "{point:?}: {}", child.said()),
        // What had ended already was no loss.
        Cut::Executor | Cut::Power => {
            assert!(
                matches!(code, Some(0 | 1 | 4 | 5)),
                "{point:?}: {code:?}: {}",
                child.said()
            );
        }
    }
    // Unconfirmed, it reverts first.
    let idle = "! ls /var/lib/hapair/txn/*/armed 2>/dev/null && \
                ! systemctl list-units --all --plain --no-legend --state=active,activating,deactivating \
                'hapair-txn-*' 'hapair-revert-*' 'hapair-boot-guard-*' | grep -q .";
    for host in HOSTS {
        wait_until("its transactions have ended", Duration::from_secs(60), || {
            twins.try_sh(host, idle).code == 0
        });
    }
    match child.said().contains("stopped while the owner changes") {
        true => Silence::Kept,
        false => Silence::None,
    }
}

/// Of the standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    Kept,
    None,
}

/// A child whose output is read as it comes.
struct Talking {
    child: Child,
    readers: Vec<std::thread::JoinHandle<String>>,
    text: String,
}

impl Talking {
    fn to_the_end(mut child: Child) -> Talking {
        fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        }
        let readers = vec![
            reader(child.stdout.take().expect("piped")),
            reader(child.stderr.take().expect("piped")),
        ];
        Talking {
            child,
            readers,
            text: String::new(),
        }
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
    }

    fn wait(&mut self) -> Option<i32> {
        wait_until("hapair ends", Duration::from_secs(600), || self.ended());
        self.child.wait().expect("a child").code()
    }

    /// What it said; ends it.
    fn said(&mut self) -> &str {
        let _ = self.child.kill();
        for reader in self.readers.drain(..) {
            self.text.push_str(&reader.join().unwrap_or_default());
        }
        &self.text
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fingerprints of both hosts, without what network.service keeps for itself.
fn files(twins: &Twins) -> [BTreeSet<String>; 2] {
    HOSTS.map(|host| {
        let all = twins.fingerprint(host);
        let lines = all.lines().filter(|line| name(line) != "/etc/resolv.conf.save");
        lines.map(str::to_owned).collect()
    })
}

/// Names of the files in which two fingerprints differ.
fn differing(a: &BTreeSet<String>, b: &BTreeSet<String>) -> BTreeSet<String> {
    a.symmetric_difference(b).map(|line| name(line).to_owned()).collect()
}

/// A line is `/path mode owner group` or `sum  /path`.
fn name(line: &str) -> &str {
    let start = line.find('/').expect("a path");
    let end = line[start..].find(' ').map_or(line.len(), |n| start + n);
    &line[start..end]
}

fn of(names: &BTreeSet<String>, files: &BTreeSet<String>) -> Vec<String> {
    files.iter().filter(|l| names.contains(name(l))).cloned().collect()
}

/// What must hold after every cut and the apply after it.
#[track_caller]
fn as_uncut(twins: &Twins, point: Point, seen: &Seen, managed: &[BTreeSet<String>; 2], wanted: &[BTreeSet<String>; 2]) {
    let now = files(twins);
    for host in 0..2 {
        let (now, wanted) = (of(&managed[host], &now[host]), of(&managed[host], &wanted[host]));
        let differ: Vec<&String> = now.iter().filter(|l| !wanted.contains(l)).collect();
        let gone: Vec<&String> = wanted.iter().filter(|l| !now.contains(l)).collect();
        assert!(
            now == wanted,
            "{point:?}: {}: {differ:?} instead of {gone:?}",
            HOSTS[host]
        );
        twins.sh(HOSTS[host], "! ls /etc/systemd/system/hapair-boot-guard-* 2>/dev/null");
    }
    let plan = twins.hapair(&["plan"]);
    assert_eq!(plan.code, 0, "{point:?}: further changes: {}", plan.all());
    // An owner that was cut off in between takes the VIP back in its own time.
    wait_until("the preferred host owns the VIP", Duration::from_secs(30), || {
        let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
        let state = |host: usize| status["hosts"][host]["instances"][0]["state"].clone();
        [state(0), state(1)] == ["MASTER", "BACKUP"]
    });
    assert!(
        seen.longest_split <= ADVERT,
        "{point:?}: two owners for {:?}",
        seen.longest_split
    );
    assert!(
        seen.longest_unreachable < Duration::from_secs(3),
        "{point:?}: no host accepted SSH for {:?}",
        seen.longest_unreachable
    );
}

/// Counts cuts; one that fails does not keep the others from being tried.
#[derive(Default)]
struct Tally {
    /// In an earlier run of the sweep.
    done: usize,
    as_uncut: usize,
    failed: Vec<Point>,
}

impl Tally {
    /// Leaves out what an earlier run has seen end well.
    fn leave_out<T>(&mut self, points: &mut Vec<T>, name: impl Fn(&T) -> (&'static str, Point)) {
        let all = points.len();
        points.retain(|point| !is_done(name(point)));
        self.done = all - points.len();
    }

    /// `what`: which of the applies that are cut.
    fn count(&mut self, what: &str, point: Point, work: impl FnOnce() -> Seen) -> bool {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            Ok(seen) => {
                self.as_uncut += 1;
                eprintln!("{what}, {point:?}: as uncut; {seen:?}");
                true
            }
            Err(_) => {
                eprintln!("{what}, {point:?}: FAILED");
                self.failed.push(point);
                false
            }
        }
    }

    #[track_caller]
    fn end(self) {
        eprintln!(
            "crash sweep: {} cuts as uncut, {} not",
            self.as_uncut,
            self.failed.len()
        );
        assert!(self.done + self.as_uncut > 0, "no cut was tried");
        assert!(self.failed.is_empty(), "{:?}", self.failed);
    }
}

fn vip() -> IpAddr {
    VIP.parse().expect("address")
}

#[test]
fn a_first_apply_that_is_cut_is_finished_by_the_next_one() {
    // The hosts move to other addresses in it.
    let inventory = example_with(&[
        ("    #: address: 192.168.0.101", "    address: 192.168.0.151"),
        (
            "  - name: nginx-backup\n",
            "  - name: nginx-backup\n    address: 192.168.0.152\n",
        ),
        ("firewalld: disabled", "firewalld: managed"),
    ]);
    let addresses = ["192.168.0.201", "192.168.0.202", "192.168.0.151", "192.168.0.152"];
    let bare = || {
        let twins = Twins::up(&inventory);
        // Each twin is made with one of its own.
        let uuid =
            "sed -i 's/^UUID=.*/UUID=6f7d4a10-26c5-4b0e-9d53-0f1f0e0c7a11/' /etc/sysconfig/network-scripts/ifcfg-*";
        HOSTS.iter().for_each(|host| drop(twins.sh(host, uuid)));
        twins
    };
    let (steps, managed, wanted) = {
        let twins = bare();
        let before = files(&twins);
        let steps = uncut(&twins);
        let wanted = files(&twins);
        let managed = [0, 1].map(|h| differing(&before[h], &wanted[h]));
        (steps, managed, wanted)
    };
    let what = "first apply";
    let mut points = points(steps, 4);
    let mut tally = Tally::default();
    tally.leave_out(&mut points, |point| (what, *point));
    eprintln!("first apply: {steps:?} steps, {} cuts", points.len());
    for point in points {
        tally.count(what, point, || {
            let twins = bare();
            let seen = watch_hosts(&twins, vip(), &addresses, || {
                cut(&twins, point);
                twins.hapair(&APPLY).expect(0);
            });
            as_uncut(&twins, point, &seen, &managed, &wanted);
            seen
        });
    }
    tally.end();
}

/// What other hands do to a host, so that also what no inventory changes is changed by the next apply.
fn disturb(twins: &Twins) {
    for host in HOSTS {
        // A package that nothing needs, and the program that the engine runs.
        twins.sh(
            host,
            "hostname stray; echo stray > /etc/hostname; sed -i /nginx-/d /etc/hosts; systemctl -q disable nginx; \
             rpm -e --nodeps rpm-sign 2>/dev/null; \
             f=/usr/local/sbin/hapair-agent; [ ! -e $f ] || { cp $f $f.stray; echo >> $f.stray; mv -f $f.stray $f; }",
        );
    }
}

#[test]
fn an_apply_on_a_living_pair_that_is_cut_loses_neither_the_vip_nor_its_way() {
    // Groups are not taken off again: there from the start, one of its packages is what changes.
    let tools = ("development_tools: false", "development_tools: true");
    let (now, next) = (example_with(&[tools]), every_kind());
    let inventories = [&now, &next];
    let twins = Twins::up(&now);
    twins.hapair(&APPLY).expect(0);
    let bare = files(&twins);
    // There and back, uncut, once more than needed: the first way there starts from what no other way leads to.
    let mut wanted = [bare.clone(), bare];
    let mut steps = [[0; 2]; 2];
    for way in [1, 0, 1, 0] {
        twins.write(inventories[way]);
        disturb(&twins);
        steps[way] = uncut(&twins);
        wanted[way] = files(&twins);
    }
    let everything = wanted
        .clone()
        .map(|w| w.map(|files| files.iter().map(|l| name(l).to_owned()).collect()));
    // There and back in turn.
    let there = points(steps[1], 3).into_iter().map(|point| (1, point));
    let mut back = points(steps[0], 3).into_iter().map(|point| (0, point));
    let mut ways = Vec::new();
    for point in there {
        ways.push(point);
        ways.extend(back.next());
    }
    let what = ["back", "there"];
    let mut tally = Tally::default();
    tally.leave_out(&mut ways, |(way, point)| (what[*way], *point));
    eprintln!("re-apply: {steps:?} steps, {} cuts", ways.len());
    let mut last = Some(0);
    for (way, point) in ways {
        if last != Some(1 - way) {
            twins.write(inventories[1 - way]);
            twins.hapair(&APPLY).expect(0);
        }
        twins.write(inventories[way]);
        disturb(&twins);
        let good = tally.count(what[way], point, || {
            let mut silence = Silence::None;
            let seen = watch_hosts(&twins, vip(), &["192.168.0.201", "192.168.0.202"], || {
                silence = cut(&twins, point);
                twins.hapair(&APPLY).expect(0);
            });
            as_uncut(&twins, point, &seen, &everything[way], &wanted[way]);
            let away = Duration::from_secs(match (point.cut, silence) {
                // The owner's: nobody else may take the VIP, which waits for the boot.
                (Cut::Power, Silence::Kept) if HOSTS[point.host] == MASTER => 15,
                // A host without power is missed for three adverts.
                (Cut::Power, _) => 5,
                _ => 2,
            });
            assert!(
                seen.longest_outage < away,
                "{point:?}: the VIP was away for {:?}",
                seen.longest_outage
            );
            seen
        });
        last = good.then_some(way);
    }
    tally.end();
}

use std::process::{Child, Command};
use std::time::Instant;

use super::*;
use crate::keepalived::{ParamMatch, Place};

/// A rule for one process of that name, without any delay.
pub(crate) fn rule(name: &str, process: &str) -> TrackProcess {
    TrackProcess {
        name: name.to_owned(),
        process: vec![process.to_owned()],
        params: ParamMatch::Any,
        full_command: false,
        weight: crate::keepalived::Weight::default(),
        quorum: 1,
        quorum_max: None,
        fork_delay: Duration::ZERO,
        terminate_delay: Duration::ZERO,
        place: Place::default(),
    }
}

fn config(rules: &[TrackProcess]) -> Config {
    Config {
        track_processes: rules.to_vec(),
        ..Config::default()
    }
}

/// Programs under names that nobody else uses.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Programs {
        Programs(tempfile::tempdir().unwrap())
    }

    fn start(&self, name: &str) -> Child {
        let path = self.0.path().join(name);
        if !path.exists() {
            std::fs::copy("/bin/sleep", &path).unwrap();
        }
        // Spawning waits for the exec, so the name is right when it returns.
        Command::new(path).arg("300").spawn().unwrap()
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn told(processes: &mut Processes, now: Time, done: impl Fn(&Processes) -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !done(processes) {
        assert!(Instant::now() < limit, "waited in vain for the kernel");
        processes.told(now);
    }
}

const T: fn(u64) -> Time = Time::from_millis;

#[test]
fn a_pidfd_tells_of_the_end_at_once_and_nothing_is_looked_at_meanwhile() {
    let programs = Programs::new();
    let mut processes = Processes::with(&[Mechanism::Pidfd, Mechanism::Poll]);
    let child = programs.start("hp-pidfd");
    processes.configure(&config(&[rule("p", "hp-pidfd")]), T(0));
    if processes.status()["watched_by"] != "pidfd" {
        // Before Linux 5.3 there is nothing to try: only the second choice may be what we got.
        assert_eq!(processes.status()["watched_by"], "poll");
        return end(child);
    }
    assert!(processes.good("p"));
    assert_eq!(processes.next_timer(), Some(VERIFY), "the quorum is met: no search");
    assert!(!processes.tick(T(1000)));
    end(child);
    told(&mut processes, T(1001), |p| !p.good("p"));
    assert_eq!(processes.next_timer(), Some(T(1001) + LOOK), "somebody is missed");
    let again = programs.start("hp-pidfd");
    assert!(processes.tick(T(1300)) && processes.good("p"));
    assert_eq!(processes.watch.as_ref().unwrap().open_pidfds(), 1);
    // No descriptor is left when the rule is gone.
    processes.configure(&config(&[rule("q", "hp-nobody")]), T(1400));
    assert_eq!(processes.watch.as_ref().unwrap().open_pidfds(), 0);
    processes.configure(&config(&[]), T(1500));
    assert!(processes.watch.is_none() && processes.next_timer().is_none());
    end(again);
}

#[test]
fn a_restart_within_the_grace_changes_nothing_under_any_mechanism() {
    let programs = Programs::new();
    for (mechanism, name) in [
        (Mechanism::Pidfd, "hp-grace1"),
        (Mechanism::Connector, "hp-grace2"),
        (Mechanism::Poll, "hp-grace3"),
    ] {
        let mut processes = Processes::with(&[mechanism, Mechanism::Poll]);
        let mut r = rule("p", name);
        r.terminate_delay = Duration::from_secs(1);
        let child = programs.start(name);
        processes.configure(&config(std::slice::from_ref(&r)), T(0));
        end(child);
        let missed = |p: &Processes| p.all[0].differs_since.is_some();
        let limit = Instant::now() + Duration::from_secs(30);
        while !missed(&processes) {
            assert!(Instant::now() < limit, "{mechanism:?}: the end is not noticed");
            processes.told(T(300));
            processes.tick(T(300));
        }
        assert!(processes.good("p"), "{mechanism:?}: within its grace");
        assert!(processes.next_timer().unwrap() <= T(1300));
        // A reload meanwhile does not shorten the grace.
        processes.configure(&config(std::slice::from_ref(&r)), T(400));
        assert!(missed(&processes) && processes.good("p"));
        let again = programs.start(name);
        let limit = Instant::now() + Duration::from_secs(30);
        while missed(&processes) {
            assert!(Instant::now() < limit, "{mechanism:?}: the successor is not noticed");
            processes.told(T(900));
            processes.tick(T(900));
        }
        assert!(!processes.tick(T(5000)) && processes.good("p"), "{mechanism:?}");
        end(again);
        let limit = Instant::now() + Duration::from_secs(30);
        while !missed(&processes) {
            assert!(Instant::now() < limit, "{mechanism:?}: the second end is not noticed");
            processes.told(T(11_000));
            processes.tick(T(11_000));
        }
        assert!(processes.tick(T(12_001)) && !processes.good("p"), "{mechanism:?}");
    }
}

#[test]
fn quorum_and_its_maximum() {
    let programs = Programs::new();
    let mut r = rule("p", "hp-quorum");
    (r.quorum, r.quorum_max) = (1, Some(1));
    let mut processes = Processes::with(&PREFERRED);
    let first = programs.start("hp-quorum");
    processes.configure(&config(&[r]), T(0));
    assert!(processes.good("p"));
    let second = programs.start("hp-quorum");
    processes.told(T(100));
    processes.tick(T(300));
    assert!(!processes.good("p"), "one too many");
    end(first);
    end(second);
}

#[test]
fn a_successor_that_runs_already_takes_its_place() {
    let programs = Programs::new();
    let mut processes = Processes::with(&PREFERRED);
    let first = programs.start("hp-successor");
    processes.configure(&config(&[rule("p", "hp-successor")]), T(0));
    let (old, second) = (first.id(), programs.start("hp-successor"));
    end(first);
    processes.told(T(10));
    processes.tick(T(300));
    assert!(processes.good("p"));
    assert!(!processes.all[0].pids.contains(&old) && processes.all[0].pids.contains(&second.id()));
    end(second);
}

/// A copy of sleep(1) that only its file tells apart, run as `nobody`, or in a root of its own.
fn foreign(path: &std::path::Path, change: impl Fn() -> std::io::Result<()> + Send + Sync + 'static) -> Child {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(path);
    command.arg("300");
    // SAFETY: `change` makes system calls only.
    unsafe { command.pre_exec(change) };
    command.spawn().unwrap()
}

#[test]
fn of_a_program_of_ones_own_neither_another_users_nor_another_roots_counts() {
    if !crate::agent::left_out::able(&[]) {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let programs = Programs::new();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.0.path(), open).unwrap();
    let ours = programs.start("hp-ours");
    let path = programs.0.path().join("hp-ours");
    let mut processes = Processes::with(&[Mechanism::Poll]);
    processes.configure(
        &config(&[rule("p", path.to_str().unwrap()), rule("n", "hp-ours")]),
        T(0),
    );
    let rules = processes.status()["rules"].clone();
    assert_eq!(
        (&rules[0]["known_by"], &rules[0]["running"]),
        (&"program".into(), &1.into())
    );
    assert_eq!(
        (&rules[1]["known_by"], &rules[1]["running"]),
        (&"name".into(), &1.into())
    );
    let nobodys = foreign(&path, || {
        // SAFETY: plain system call.
        match unsafe { libc::setuid(65534) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    });
    // The same name, another file: what a container has.
    let elsewhere = Programs::new();
    let other = elsewhere.start("hp-ours");
    processes.tick(T(300));
    let rules = |p: &Processes| p.status()["rules"].clone();
    assert_eq!(rules(&processes)[0]["running"], 1);
    end(ours);
    assert!(processes.tick(T(600)) && !processes.good("p"));
    assert_eq!(rules(&processes)[0]["not_counted"], 2);
    assert!(processes.good("n"), "by the name alone any will do");
    // Ours again, from a file that has been replaced since; then from the one that has replaced it.
    let again = programs.start("hp-ours");
    let new = programs.0.path().join("new");
    std::fs::copy("/bin/sleep", &new).unwrap();
    std::fs::rename(&new, &path).unwrap();
    assert!(processes.tick(T(900)) && processes.good("p"));
    end(again);
    assert!(processes.tick(T(1200)) && !processes.good("p"));
    let newer = programs.start("hp-ours");
    assert!(processes.tick(T(1500)) && processes.good("p"));
    [nobodys, other, newer].into_iter().for_each(end);
}

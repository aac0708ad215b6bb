//! The daemon's own process, those it starts, and those it tracks.

use std::fs;
use std::process::Command;

use crate::host::{Host, able, instance, until};

/// Scheduling policy of every thread, by its name.
fn policies(pid: u32) -> Vec<(String, u32)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let stats = threads.filter_map(|t| fs::read_to_string(t.path().join("stat")).ok());
    let mut all: Vec<(String, u32)> = stats
        .map(|s| {
            let (head, tail) = s.rsplit_once(')').unwrap();
            // proc(5): `policy` is field 41, the third is the first after the name.
            let policy = tail.split_whitespace().nth(41 - 3).unwrap().parse().unwrap();
            (head.split_once('(').unwrap().1.to_owned(), policy)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn only_the_packet_thread_is_real_time_and_scripts_are_ordinary() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let (seen, script) = (host.path("seen"), host.path("check.sh"));
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n{{ cat /proc/self/stat /proc/self/status; readlink /proc/$$/fd/*; echo PATH=$PATH; }} >{0}.new\nmv {0}.new {0}\n",
            seen.display()
        ),
    )
    .unwrap();
    let checks = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/bin/sh {}\"\n interval 0.2\n timeout 10\n}}\n",
        script.display()
    );
    host.start(
        &(checks + &instance(" track_script {\n chk\n }")),
        &["--rt-priority", "10", "--lock-memory"],
    );
    until("the script has run", || seen.exists());
    let text = host.read("seen");
    let policy = text.lines().next().unwrap().rsplit_once(')').unwrap().1;
    assert_eq!(policy.split_whitespace().nth(41 - 3), Some("0"), "{text}");
    assert!(text.contains("SigBlk:\t0000000000000000\n"), "{text}");
    for word in ["socket:", "eventpoll", "signalfd", "timerfd"] {
        assert!(!text.contains(word), "inherited: {text}");
    }
    assert!(text.contains("PATH=/"), "{text}");
    let log = host.read("log");
    let threads = policies(host.pid());
    for (name, policy) in &threads {
        let packet_thread = name.starts_with("hapair-agent");
        if packet_thread && log.contains("cannot get real-time priority") {
            assert!(log.contains("CAP_SYS_NICE"), "the warning has its hint: {log}");
            continue;
        }
        assert_eq!(*policy, if packet_thread { 2 } else { 0 }, "{threads:?}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let locked = status.lines().find_map(|l| l.strip_prefix("VmLck:")).unwrap();
    assert!(
        !locked.trim().starts_with("0 ") || log.contains("cannot lock the memory"),
        "{locked}"
    );
}

#[test]
fn a_check_that_runs_too_long_can_be_ended_in_peace() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let (seen, script) = (host.path("ended"), host.path("slow.sh"));
    // The shell's trap only works if SIGTERM is not blocked.
    fs::write(
        &script,
        format!(
            "trap 'touch {}; exit 1' TERM\nwhile :; do sleep 0.05; done\n",
            seen.display()
        ),
    )
    .unwrap();
    let checks = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script slow {{\n script \"/bin/sh {}\"\n interval 1\n timeout 0.5\n weight -7\n}}\n",
        script.display()
    );
    host.start(&(checks + &instance(" track_script {\n slow\n }")), &[]);
    until("the timeout counts", || host.instance()["priority"] == 193);
    until("SIGTERM arrived", || seen.exists());
}

#[test]
fn scripts_run_on_under_a_parent_that_ignores_its_children() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let runs = host.path("runs");
    let checks = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/bin/sh -c 'echo x >>{}'\"\n interval 0.1\n weight 5\n}}\n",
        runs.display()
    );
    let config = checks + &instance(" track_script {\n chk\n }");
    host.spawn(&config, &["bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"], &[]);
    until("three runs", || host.read("runs").lines().count() >= 3);
    until("they count", || host.instance()["priority"] == 205);
}

#[test]
fn the_status_names_how_processes_are_watched() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let program = host.path("hp-daemon");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut tracked = Command::new(&program).arg("300").spawn().unwrap();
    let rules = "vrrp_track_process p {\n process hp-daemon\n weight -10\n}\n";
    host.start(&(rules.to_owned() + &instance(" track_process {\n p\n }")), &[]);
    let by = host.status()["processes"]["watched_by"].clone();
    assert!(by == "pidfd" || by == "connector" || by == "poll", "{by}");
    assert_eq!(
        host.read("log").matches("processes are watched").count(),
        1,
        "said once"
    );
    until("it runs", || host.instance()["priority"] == 200);
    tracked.kill().unwrap();
    tracked.wait().unwrap();
    until("it is missed", || host.instance()["priority"] == 190);
    tracked = Command::new(&program).arg("300").spawn().unwrap();
    until("it is back", || host.instance()["priority"] == 200);
    tracked.kill().unwrap();
    tracked.wait().unwrap();
}

#[test]
fn without_a_state_directory_the_vip_is_served_all_the_same() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    // A file where the directory should be.
    fs::write(host.path("state"), "").unwrap();
    host.spawn(&instance(""), &[], &[]);
    until("owner", || host.owns());
    let log = host.read("log");
    assert!(
        log.contains("cannot write the run marker") && log.contains("cannot listen on the control socket"),
        "{log}"
    );
    host.stop();
    assert!(!host.owns());
}

//! The agent on real interfaces, beside the real keepalived and beside itself, in network namespaces of the tests' own.
//!
//! Needs root, ip(8) and, where it says so, keepalived; without them it says so and does nothing else (in CI it fails).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than any election here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn have(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|dir| PathBuf::from(dir).join(program).exists())
}

/// Whether the test can run; says so if not.
fn able(keepalived: bool) -> bool {
    // SAFETY: no arguments, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let why = match (root, have("ip"), !keepalived || have("keepalived")) {
        (false, ..) => "root",
        (_, false, _) => "ip(8)",
        (_, _, false) => "keepalived",
        _ => return true,
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "needs {why}, and CI must not leave it out"
    );
    eprintln!("SKIPPED: needs {why}");
    false
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network namespace that lives as long as its one sleeping process.
struct Net(Child);

impl Net {
    fn new() -> Net {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let net = Net(child);
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        until("a network namespace", || {
            fs::read_link(format!("/proc/{}/ns/net", net.0.id())).is_ok_and(|n| n != ours)
        });
        net
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.0.id().to_string(), "-n", program])
            .stdin(Stdio::null());
        command
    }

    fn ip(&self, args: &str) -> String {
        let out = self.command("ip").args(args.split_whitespace()).output().unwrap();
        assert!(
            out.status.success(),
            "ip {args}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Engine {
    Agent,
    Keepalived,
}

/// A host of the pair.
struct Host {
    net: Net,
    dir: PathBuf,
    daemon: Option<(Engine, Child)>,
}

impl Host {
    fn start(&mut self, engine: Engine) {
        assert!(self.daemon.is_none());
        let (config, state) = (self.dir.join("keepalived.conf"), self.dir.join("state"));
        let log = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.dir.join("log"))
                .unwrap()
        };
        let mut command = match engine {
            Engine::Agent => {
                let mut c = self.net.command(env!("CARGO_BIN_EXE_hapair-agent"));
                c.arg("run").arg("--config").arg(&config).arg("--state-dir").arg(&state);
                c
            }
            Engine::Keepalived => {
                let mut c = self.net.command("keepalived");
                c.args(["-n", "-l", "-G", "-P", "-f"]).arg(&config);
                c.arg("-p")
                    .arg(self.dir.join("pid"))
                    .arg("-r")
                    .arg(self.dir.join("vrrp.pid"));
                c
            }
        };
        // nsenter executes the daemon in its own place, so this is the daemon's process.
        let child = command.stdout(log()).stderr(log()).spawn().unwrap();
        self.daemon = Some((engine, child));
    }

    fn signal(&self, signal: i32) {
        let child = &self.daemon.as_ref().unwrap().1;
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child.id() as i32, signal) };
    }

    /// Ends the daemon with a signal and waits for its end.
    fn end(&mut self, signal: i32) {
        self.signal(signal);
        let (engine, mut child) = self.daemon.take().unwrap();
        drop(child.wait());
        if engine == Engine::Agent && signal == libc::SIGKILL {
            // What the unit's ExecStopPost does.
            assert!(
                self.agent(&[
                    "release",
                    "--config",
                    self.dir.join("keepalived.conf").to_str().unwrap()
                ])
                .1
            );
        }
    }

    fn agent(&self, args: &[&str]) -> (String, bool) {
        let mut command = self.net.command(env!("CARGO_BIN_EXE_hapair-agent"));
        let out = command
            .args(args)
            .arg("--state-dir")
            .arg(self.dir.join("state"))
            .output()
            .unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.success())
    }

    fn owns(&self, vip: &str) -> bool {
        self.net.ip("-o addr show dev eth0").contains(&format!(" {vip}/"))
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.agent(&["status", "--json"]).0).unwrap_or_default()
    }

    fn instance(&self) -> Value {
        self.status()["instances"][0].clone()
    }

    fn write(&self, config: &str) {
        fs::write(self.dir.join("keepalived.conf"), config).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some((_, child)) = &mut self.daemon {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.dir.display(), self.log());
        }
    }
}

/// Two hosts on a bridge in a third namespace.
struct Pair {
    a: Host,
    b: Host,
    _wire: Net,
    _dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let wire = Net::new();
        wire.ip("link add br0 type bridge mcast_snooping 0");
        wire.ip("link set br0 up");
        let host = |name: &str, number: u8| {
            let net = Net::new();
            wire.ip(&format!(
                "link add name port{number} type veth peer name eth0 netns {}",
                net.0.id()
            ));
            wire.ip(&format!("link set dev port{number} master br0 up"));
            net.ip("link set lo up");
            net.ip("link set eth0 up");
            net.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
            net.ip(&format!("addr add fd00:77::{number}/64 dev eth0 nodad"));
            net.ip(&format!("addr add fe80::77:{number}/64 dev eth0 nodad"));
            let own = dir.path().join(name);
            fs::create_dir(&own).unwrap();
            Host {
                net,
                dir: own,
                daemon: None,
            }
        };
        let (a, b) = (host("a", 1), host("b", 2));
        Pair {
            a,
            b,
            _wire: wire,
            _dir: dir,
        }
    }

    /// Exactly `a` (or exactly `b`) owns the VIP.
    fn settle(&self, owner_is_a: bool, vip: &str) {
        let who = if owner_is_a { "a" } else { "b" };
        until(&format!("{who} alone owns {vip}"), || {
            (self.a.owns(vip), self.b.owns(vip)) == (owner_is_a, !owner_is_a)
        });
    }
}

fn config(priority: u8, vip: &str, more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n\
         {more}\n virtual_ipaddress {{\n {vip}/24\n }}\n}}\n"
    )
}

const PASS: &str = " advert_int 1\n authentication {\n auth_type PASS\n auth_pass secret12\n }";
const VIP: &str = "10.77.0.99";

/// Takeover on stop, handback on return, with one engine on each host.
fn takeover_and_handback(owner: Engine, standby: Engine, more_a: &str, more_b: &str, vip: &str) {
    let mut pair = Pair::new();
    pair.a.write(&config(201, vip, more_a));
    pair.b.write(&config(200, vip, more_b));
    pair.a.start(owner);
    pair.b.start(standby);
    pair.settle(true, vip);
    pair.a.end(libc::SIGTERM);
    pair.settle(false, vip);
    pair.a.start(owner);
    pair.settle(true, vip);
    // Both hear each other: no adverts are refused.
    for host in [&pair.a, &pair.b] {
        if host.daemon.as_ref().unwrap().0 == Engine::Agent {
            assert_eq!(host.instance()["statistics"]["ignored"], 0, "{}", host.log());
        }
    }
    pair.b.end(libc::SIGTERM);
    pair.settle(true, vip);
}

#[test]
fn version_2_with_a_password_beside_keepalived() {
    if able(true) {
        takeover_and_handback(Engine::Agent, Engine::Keepalived, PASS, PASS, VIP);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, PASS, PASS, VIP);
    }
}

#[test]
fn version_3_beside_keepalived() {
    if able(true) {
        let more = " version 3\n advert_int 0.2";
        takeover_and_handback(Engine::Agent, Engine::Keepalived, more, more, VIP);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, more, more, VIP);
    }
}

#[test]
fn ipv6_beside_keepalived() {
    if able(true) {
        let more = " version 3\n advert_int 0.2";
        takeover_and_handback(Engine::Agent, Engine::Keepalived, more, more, "fd00:77::99");
        takeover_and_handback(Engine::Keepalived, Engine::Agent, more, more, "fd00:77::99");
    }
}

#[test]
fn unicast_beside_keepalived() {
    if able(true) {
        let a = format!("{PASS}\n unicast_src_ip 10.77.0.1\n unicast_peer {{\n 10.77.0.2\n }}");
        let b = format!("{PASS}\n unicast_src_ip 10.77.0.2\n unicast_peer {{\n 10.77.0.1\n }}");
        takeover_and_handback(Engine::Agent, Engine::Keepalived, &a, &b, VIP);
        takeover_and_handback(Engine::Keepalived, Engine::Agent, &a, &b, VIP);
    }
}

#[test]
fn two_agents_without_multicast_loss() {
    if able(false) {
        takeover_and_handback(Engine::Agent, Engine::Agent, PASS, PASS, VIP);
    }
}

#[test]
fn equal_priorities_have_one_owner() {
    if !able(true) {
        return;
    }
    let mut pair = Pair::new();
    let more = " version 3\n advert_int 0.2";
    pair.a.write(&config(150, VIP, more));
    pair.b.write(&config(150, VIP, more));
    pair.a.start(Engine::Agent);
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Keepalived);
    // Who owns it keeps it against an equal.
    until("adverts go out", || {
        pair.a.instance()["statistics"]["sent"].as_u64() > Some(15)
    });
    pair.settle(true, VIP);
    assert_eq!(pair.a.instance()["statistics"]["left_master"], 0);
}

#[test]
fn a_wrong_password_is_refused_and_said() {
    if !able(true) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(150, VIP, &PASS.replace("secret12", "other")));
    pair.b.write(&config(100, VIP, PASS));
    pair.b.start(Engine::Keepalived);
    pair.a.start(Engine::Agent);
    until("two owners, as there must be", || pair.a.owns(VIP) && pair.b.owns(VIP));
    until("the agent counts it", || {
        pair.a.instance()["statistics"]["auth_failures"].as_u64() > Some(0)
    });
    until("the agent says it", || {
        pair.a.log().contains("adverts are ignored: the password is wrong")
    });
    assert!(!pair.a.log().contains("secret12") && !pair.a.log().contains("other\""));
}

#[test]
fn a_failed_check_moves_the_vip_and_back() {
    if !able(false) {
        return;
    }
    let mut pair = Pair::new();
    let flag = pair.a.dir.join("good");
    fs::write(&flag, "").unwrap();
    let script = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/usr/bin/test -e {}\"\n interval 0.1\n weight -5\n fall 2\n rise 2\n}}\n",
        flag.display()
    );
    pair.a
        .write(&(script + &config(201, VIP, &format!("{PASS}\n track_script {{\n chk\n }}"))));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    fs::remove_file(&flag).unwrap();
    pair.settle(false, VIP);
    assert_eq!(pair.a.instance()["priority"], 196);
    assert_eq!(
        pair.b.instance()["cause"],
        "Preempt",
        "not by silence: both know both priorities"
    );
    fs::write(&flag, "").unwrap();
    pair.settle(true, VIP);
}

#[test]
fn a_crash_gives_the_vip_away_and_does_not_take_it_back_at_once() {
    if !able(true) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Keepalived);
    pair.settle(true, VIP);
    pair.a.end(libc::SIGKILL);
    assert!(!pair.a.owns(VIP), "the stop step took it off");
    pair.settle(false, VIP);
    pair.a.start(Engine::Agent);
    until("the agent hears the owner", || {
        pair.a.instance()["statistics"]["received"].as_u64() > Some(4)
    });
    pair.settle(false, VIP);
    assert_eq!(pair.a.instance()["held"], true);
    assert!(pair.a.agent(&["resume"]).1);
    pair.settle(true, VIP);
}

#[test]
fn a_reload_changes_only_what_differs() {
    if !able(false) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    // One step of priority is 4 ms of skew: started together, the lower one may be first.
    until("a owns the VIP", || pair.a.owns(VIP));
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    // On the owner alone: the standby raises an alarm and does not become a second owner.
    pair.a
        .write(&config(201, VIP, PASS).replace("10.77.0.99/24", "10.77.0.99/24\n 10.77.0.98/24"));
    pair.a.signal(libc::SIGHUP);
    until("the new address", || pair.a.owns("10.77.0.98"));
    until("the alarm", || pair.b.log().contains("VIP list differs"));
    pair.settle(true, VIP);
    pair.a.write("vrrp_instance VI_1 {\n interface eth0\n");
    let (_, done) = pair.a.agent(&["reload"]);
    assert!(!done, "a broken configuration is refused");
    assert!(pair.a.owns("10.77.0.98"));
    pair.a.write(&config(201, VIP, PASS));
    assert!(pair.a.agent(&["reload"]).1);
    until("the address is gone again", || !pair.a.owns("10.77.0.98"));
    assert!(pair.a.owns(VIP));
    assert_eq!(pair.a.instance()["statistics"]["became_master"], 1);
    assert_eq!(pair.b.instance()["statistics"]["became_master"], 0);
}

#[test]
fn what_others_remove_is_put_back_and_a_lost_link_is_a_fault() {
    if !able(false) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Agent);
    pair.settle(true, VIP);
    pair.a.net.ip("addr del 10.77.0.99/24 dev eth0");
    until("the address is back", || pair.a.owns(VIP));
    pair._wire.ip("link set dev port1 down");
    until("fault", || pair.a.instance()["state"] == "FAULT");
    pair.settle(false, VIP);
    pair._wire.ip("link set dev port1 up");
    pair.settle(true, VIP);
}

#[test]
fn handover_and_engine_switch() {
    if !able(true) {
        return;
    }
    let mut pair = Pair::new();
    pair.a.write(&config(201, VIP, PASS));
    pair.b.write(&config(200, VIP, PASS));
    pair.a.start(Engine::Agent);
    pair.b.start(Engine::Keepalived);
    pair.settle(true, VIP);
    assert!(pair.a.agent(&["handover"]).1);
    pair.settle(false, VIP);
    until("the agent hears the owner", || {
        pair.a.instance()["owner"]["priority"] == 200
    });
    assert!(!pair.a.owns(VIP));
    assert!(pair.a.agent(&["resume"]).1);
    pair.settle(true, VIP);
    // The same host goes on with the other engine, and back.
    pair.a.end(libc::SIGTERM);
    assert!(!pair.a.dir.join("state/agent.running").exists());
    pair.a.start(Engine::Keepalived);
    pair.settle(true, VIP);
    pair.a.end(libc::SIGTERM);
    pair.a.start(Engine::Agent);
    pair.settle(true, VIP);
}

#[test]
fn processes_and_files_change_the_priority() {
    if !able(false) {
        return;
    }
    let mut pair = Pair::new();
    let (program, file) = (pair.a.dir.join("hp-tracked"), pair.a.dir.join("number"));
    fs::copy("/bin/sleep", &program).unwrap();
    let mut tracked = Command::new(&program).arg("300").spawn().unwrap();
    let rules = format!(
        "vrrp_track_process p {{\n process hp-tracked\n weight -10\n delay 0.3\n}}\ntrack_file f {{\n file {}\n}}\n",
        file.display()
    );
    let more = format!("{PASS}\n track_process {{\n p\n }}\n track_file {{\n f\n }}");
    pair.a.write(&(rules + &config(100, VIP, &more)));
    pair.a.start(Engine::Agent);
    until("all good", || pair.a.instance()["priority"] == 100);
    drop(tracked.kill());
    drop(tracked.wait());
    until("the process is missed", || pair.a.instance()["priority"] == 90);
    fs::write(&file, "-25\n").unwrap();
    until("the file counts", || pair.a.instance()["priority"] == 65);
    let mut again = Command::new(&program).arg("300").spawn().unwrap();
    until("the process is back", || pair.a.instance()["priority"] == 75);
    drop(again.kill());
    drop(again.wait());
    fs::write(&file, "-300\n").unwrap();
    until("too low is a fault", || pair.a.instance()["state"] == "FAULT");
}

#[test]
fn notifications_come_in_order() {
    if !able(false) {
        return;
    }
    let mut pair = Pair::new();
    let seen = pair.a.dir.join("seen");
    let script = pair.a.dir.join("notify.sh");
    // The first is slow: the second must wait for it.
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n[ \"$3\" = BACKUP ] && sleep 0.3\necho \"$*\" >>{}\n",
            seen.display()
        ),
    )
    .unwrap();
    let notify = format!("{PASS}\n notify \"/bin/sh {}\" root", script.display());
    pair.a.write(&config(201, VIP, &notify));
    pair.a.start(Engine::Agent);
    until("owner", || pair.a.owns(VIP));
    pair.a.end(libc::SIGTERM);
    let text = fs::read_to_string(&seen).unwrap();
    assert_eq!(
        text,
        "INSTANCE VI_1 BACKUP 201\nINSTANCE VI_1 MASTER 201\nINSTANCE VI_1 STOP 201\n"
    );
}

//! A pair of twins, the `hapair` binary, and what a test wants to know of a host.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, Once, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The first host of [`EXAMPLE`], preferred owner of the VIP.
pub(crate) const MASTER: &str = "nginx-master";
/// The second host.
pub(crate) const BACKUP: &str = "nginx-backup";
/// Both.
pub(crate) const HOSTS: [&str; 2] = [MASTER, BACKUP];

/// The inventory every test starts from: what a new user starts from.
pub(crate) const EXAMPLE: &str = include_str!("../../inventory.example.yaml");

/// The line of [`EXAMPLE`] that names the engine.
pub(crate) const ENGINE_LINE: &str = "engine: agent";

/// The engine that the tests run with: `HAPAIR_LAB_ENGINE`, which tests/run sets to each in turn.
pub(crate) fn engine() -> String {
    std::env::var("HAPAIR_LAB_ENGINE").unwrap_or_else(|_| "agent".to_owned())
}

/// Its unit, without suffix.
pub(crate) fn engine_unit() -> &'static str {
    match engine().as_str() {
        "agent" => "hapair-agent",
        "keepalived" => "keepalived",
        other => panic!("HAPAIR_LAB_ENGINE is agent or keepalived, not {other}"),
    }
}

/// No command of a test takes as long. A test that waits in vain must fail: a run of all the tests that hangs says nothing.
const COMMAND_LIMIT: Duration = Duration::from_secs(600);
/// No command is silent for as long.
const SILENCE_LIMIT: Duration = Duration::from_secs(180);

/// Pairs of twins that there may be at the same time. Tests mostly wait: for elections, for a host that reverts in its own time.
const PAIRS: usize = 4;

/// Numbers of the pairs that no test has.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static FREED: Condvar = Condvar::new();
/// Written by a test that must be alone on the machine, read by the others.
static MACHINE: RwLock<()> = RwLock::new(());

/// Who else may have twins meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Other tests.
    Others,
    /// Nobody: what is measured must not compete for the processors.
    Alone,
}

/// A test's right to a pair of twins; ends with the value.
pub(crate) struct Turn {
    pair: usize,
    _machine: Result<RwLockReadGuard<'static, ()>, RwLockWriteGuard<'static, ()>>,
}

impl Turn {
    /// Waits until there is a pair to have.
    pub(crate) fn wait(company: Company) -> Turn {
        static READY: Once = Once::new();
        READY.call_once(|| {
            // Two commands at once would stand in each other's way.
            hapair::lab::install_requirements(&mut |line| eprintln!("{line}")).expect("what the twins need");
            *FREE.lock().expect("whole") = (0..PAIRS).rev().collect();
        });
        let machine = match company {
            Company::Others => Ok(MACHINE.read().unwrap_or_else(|poisoned| poisoned.into_inner())),
            Company::Alone => Err(MACHINE.write().unwrap_or_else(|poisoned| poisoned.into_inner())),
        };
        let free = FREE.lock().expect("whole");
        let mut free = FREED.wait_while(free, |free| free.is_empty()).expect("whole");
        Turn {
            pair: free.pop().expect("one is free"),
            _machine: machine,
        }
    }

    /// Name of its pair: `HAPAIR_LAB_NAME`, so that two runs on one machine have twins of their own, and a number.
    pub(crate) fn name(&self) -> String {
        let run = std::env::var("HAPAIR_LAB_NAME").unwrap_or_else(|_| "hapair-tests".to_owned());
        format!("{run}-{}", self.pair)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        FREE.lock().expect("whole").push(self.pair);
        FREED.notify_one();
    }
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Both streams.
    pub(crate) fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Run {
        assert_eq!(
            self.code, code,
            "unexpected exit code\n-- stdout\n{}\n-- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Run {
        assert!(
            self.all().contains(text),
            "`{text}` is missing\n-- stdout\n{}\n-- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Every JSON line of stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The last JSON object.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let last = self.json().pop().expect("a summary");
        assert_eq!(last["type"], "summary", "{last}");
        assert_eq!(last["exit_code"], self.code, "{last}");
        last
    }
}

/// A pair of twins that goes away with this value.
pub(crate) struct Twins {
    // Dropped last.
    dir: tempfile::TempDir,
    turn: Turn,
}

impl Twins {
    /// Boots twins for an inventory.
    #[track_caller]
    pub(crate) fn up(inventory: &str) -> Twins {
        Twins::up_with(inventory, &[], Company::Others)
    }

    /// The same with no other twins on the machine.
    #[track_caller]
    pub(crate) fn up_alone(inventory: &str) -> Twins {
        Twins::up_with(inventory, &[], Company::Alone)
    }

    /// The same with options for `lab up`.
    #[track_caller]
    pub(crate) fn up_with(inventory: &str, options: &[&str], company: Company) -> Twins {
        let twins = Twins {
            dir: tempfile::tempdir().expect("a scratch folder"),
            turn: Turn::wait(company),
        };
        twins.write(inventory);
        let mut args = vec!["lab", "up", "--yes"];
        args.extend(options);
        twins.plain(&args).expect(0);
        twins
    }

    /// Replaces the inventory; it gets the engine of this run.
    pub(crate) fn write(&self, inventory: &str) {
        self.write_with_engine(inventory, &engine());
    }

    /// The same with an engine of the test's choice.
    pub(crate) fn write_with_engine(&self, inventory: &str, engine: &str) {
        // A name of its own: an operator's twins of the example are none of the tests' business.
        let own = inventory.replacen("name: edge", &format!("name: {}", self.turn.name()), 1);
        let own = own.replacen(ENGINE_LINE, &format!("engine: {engine}"), 1);
        std::fs::write(self.inventory(), own).expect("inventory written");
    }

    /// These twins, for what no command does.
    pub(crate) fn lab(&self) -> hapair::lab::Lab {
        hapair::lab::Lab::open(&self.turn.name()).expect("lab")
    }

    /// Where files beside the inventory go.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn inventory(&self) -> PathBuf {
        self.dir.path().join("inventory.yaml")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hapair"));
        command
            .arg("-i")
            .arg(self.inventory())
            .args(args)
            .current_dir(self.dir())
            .env("HOME", self.dir());
        command.stdin(Stdio::null());
        command
    }

    fn plain(&self, args: &[&str]) -> Run {
        let mut command = self.command(args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("hapair runs");
        let id = child.id();
        let (ended, wait) = mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait_with_output()));
        match wait.recv_timeout(COMMAND_LIMIT) {
            Ok(output) => Run::from(output.expect("its output")),
            Err(_) => {
                kill(id);
                panic!("hapair {args:?} did not end within {COMMAND_LIMIT:?}");
            }
        }
    }

    /// `hapair --lab ARGS`.
    pub(crate) fn hapair(&self, args: &[&str]) -> Run {
        let mut all = vec!["--lab"];
        all.extend(args);
        self.plain(&all)
    }

    /// `hapair --lab ARGS`, left running.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut all = vec!["--lab"];
        all.extend(args);
        self.command(&all)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hapair runs")
    }

    #[track_caller]
    pub(crate) fn apply(&self) -> Run {
        self.hapair(&["apply", "--yes", "--output", "json"])
    }

    /// A shell command in a twin, not over SSH; must succeed.
    #[track_caller]
    pub(crate) fn sh(&self, host: &str, script: &str) -> String {
        let run = self.try_sh(host, script);
        assert_eq!(run.code, 0, "on {host}: {script}\n{}", run.all());
        run.stdout
    }

    pub(crate) fn try_sh(&self, host: &str, script: &str) -> Run {
        self.plain(&["lab", "exec", host, "--", "sh", "-c", script])
    }

    /// The twins' network as a client sees it: runs something inside the controller's network namespace.
    pub(crate) fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let lab = self.lab();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                lab.enter().expect("the controller's namespace");
                work()
            });
            inside.join().expect("work inside the lab")
        })
    }

    /// Paths below /etc whose inode changed since the marker made by [`Twins::mark`].
    pub(crate) fn changed_since_mark(&self, host: &str) -> String {
        self.sh(host, "find /etc /usr/local -cnewer /run/mark -not -type d | sort")
    }

    pub(crate) fn mark(&self, host: &str) {
        // ctime has the kernel's tick as resolution: the marker must be older than any write after it.
        self.sh(host, "touch /run/mark; sleep 0.1");
    }

    /// Checksums, modes and owners of everything hapair may write.
    pub(crate) fn fingerprint(&self, host: &str) -> String {
        self.sh(
            host,
            "find /etc /usr/local/sbin -xdev -type f -not -path '/etc/ssh/*' -not -name '*.cache' -not -name ld.so.cache \
             -exec stat -c '%n %a %U %G' {} + -exec sha256sum {} + | sort",
        )
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- journal of the twins");
            for host in HOSTS {
                let run = self.try_sh(
                    host,
                    "journalctl -q -n 40 --no-pager; cat /var/lib/hapair/txn/*/journal* 2>/dev/null | tail -n 20",
                );
                eprintln!("[{host}]\n{}", run.all());
            }
        }
        let down = self.plain(&["lab", "down"]);
        if !std::thread::panicking() {
            assert_eq!(down.code, 0, "{}", down.all());
        }
    }
}

/// Where a transaction of a host waits to be cut (`src/host/record/test_hold.rs`).
const HOLD: &str = "/run/hapair-txn.hold";

/// Transactions that wait, and what happens to a host in their midst.
impl Twins {
    /// Lets a host's transactions write so many steps and then wait.
    pub(crate) fn hold_after(&self, host: &str, steps: usize) {
        self.sh(host, &format!("echo {steps} > {HOLD}"));
    }

    /// How many steps are left, or `held`.
    pub(crate) fn held(&self, host: &str) -> String {
        self.sh(host, &format!("cat {HOLD}")).trim().to_owned()
    }

    pub(crate) fn let_go(&self, host: &str) {
        self.sh(host, &format!("rm -f {HOLD}"));
    }

    /// Both processes of every SSH connection, with SIGKILL.
    pub(crate) fn kill_connections(&self, host: &str) {
        self.sh(host, "pkill -KILL -f '^sshd: root'");
    }

    /// The executor that works there, with SIGKILL.
    pub(crate) fn kill_executor(&self, host: &str) {
        self.sh(
            host,
            "systemctl kill --kill-who=main -s KILL \
             $(systemctl list-units --plain --no-legend --state=active 'hapair-txn-*.service' | cut -d' ' -f1)",
        );
    }
}

/// What a child that was spawned says on stdout, line by line. One that falls silent for [`SILENCE_LIMIT`] is killed and fails
/// the test.
pub(crate) fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let id = child.id();
    let stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let (said, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let all = stdout.lines().map_while(Result::ok);
        all.take_while(|line| said.send(line.clone()).is_ok()).for_each(drop);
    });
    std::iter::from_fn(move || match wait.recv_timeout(SILENCE_LIMIT) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            kill(id);
            panic!("hapair said nothing for {SILENCE_LIMIT:?}");
        }
    })
}

fn kill(id: u32) {
    // SAFETY: sends a signal; the process is a child that nobody has waited for yet.
    unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) };
}

/// Waits until a host is being changed.
#[track_caller]
pub(crate) fn until_changing(lines: &mut impl Iterator<Item = String>, host: &str) {
    let host = format!("\"host\":\"{host}\"");
    let begun = lines.any(|l| l.contains("\"resource_started\"") && l.contains(&host));
    assert!(begun, "it ended before it changed {host}");
}

/// Waits for a condition; the limit is only there so that a broken one ends.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The example with one piece of text replaced, which must be there.
#[track_caller]
pub(crate) fn example_with(edits: &[(&str, &str)]) -> String {
    let mut text = EXAMPLE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "the example no longer has `{from}`");
        text = text.replacen(from, to, 1);
    }
    text
}

/// The example with a change of every kind that an inventory can bring, but for addresses: network, SELinux, firewall,
/// repository, packages, nginx, check, and what decides the election.
#[track_caller]
pub(crate) fn every_kind() -> String {
    let dns = "dns: [221.228.255.1]";
    let text = example_with(&[
        ("selinux: disabled", "selinux: permissive"),
        ("firewalld: disabled", "firewalld: managed"),
        ("development_tools: false", "development_tools: true"),
        ("nginx: stable", "nginx: mainline"),
        ("\"10.0.0.11:8080\"", "\"10.0.0.11:8080 weight=2\""),
        ("weight: -5", "weight: -7"),
        ("auth_pass: \"1111\"", "auth_pass: \"n3wpass\""),
    ]);
    assert_eq!(text.matches(dns).count(), 2, "the example no longer has `{dns}` twice");
    text.replace(dns, "dns: [221.228.255.1, 221.228.255.2]")
}

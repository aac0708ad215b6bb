#![allow(unreachable_pub, dead_code)]
//! A private sshd on 127.0.0.1, keys, stand-in executors, and a person who answers questions.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hapair::remote::{Ask, Escalate, Payload, Target, Tuning};
use hapair::state::Secret;

/// Waits for a condition, up to a limit that only a broken build reaches.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// True when tests that need this program can run; fails in CI, where leaving out is not allowed.
pub fn have(program: &str) -> bool {
    let found = Path::new(program).exists();
    if !found {
        crate::left_out::missing_here(&format!("{program} (of openssh-server, openssh-client and sudo)"));
    }
    found
}

/// A person, played.
#[derive(Default)]
pub struct Person {
    pub accept: bool,
    pub secrets: Mutex<Vec<String>>,
    pub questions: Mutex<Vec<String>>,
}

impl Ask for Person {
    fn accept_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool {
        self.questions
            .lock()
            .unwrap()
            .push(format!("{host} {key_type} {fingerprint}"));
        self.accept
    }

    fn secret(&self, prompt: &str) -> Option<Secret> {
        self.questions.lock().unwrap().push(prompt.to_owned());
        let mut secrets = self.secrets.lock().unwrap();
        if secrets.is_empty() {
            None
        } else {
            Some(Secret::new(secrets.remove(0)))
        }
    }
}

pub fn nobody() -> Arc<Person> {
    Arc::new(Person::default())
}

pub fn person(secrets: &[&str]) -> Arc<Person> {
    Arc::new(Person {
        secrets: Mutex::new(secrets.iter().map(|s| (*s).to_owned()).collect()),
        ..Person::default()
    })
}

pub fn me() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}

/// Its own directory, host keys, user key and log. Stopped, with every session, when dropped.
pub struct Sshd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

pub struct Settings {
    pub host_keys: &'static [&'static str],
    pub config: String,
    pub user_key: &'static [&'static str],
    /// Runs sshd: `sh -c PRELUDE; exec sshd`, in a mount namespace of its own.
    pub prelude: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            host_keys: &["ed25519"],
            config: String::new(),
            user_key: &["-t", "ed25519"],
            prelude: None,
        }
    }
}

pub fn keygen(path: &Path, arguments: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-C", "test", "-f"]).arg(path).args(arguments);
    if !arguments.contains(&"-N") {
        command.args(["-N", ""]);
    }
    run(&mut command);
}

impl Sshd {
    pub fn start(settings: Settings) -> Sshd {
        let dir = tempfile::Builder::new()
            .prefix("hapair-sshd-")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| dir.path().join(name);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\nAuthorizedKeysFile {}\n",
            at("authorized_keys").display(),
        );
        for kind in settings.host_keys {
            let path = at(&format!("host_{kind}"));
            keygen(&path, &["-t", kind]);
            config += &format!("HostKey {}\n", path.display());
        }
        // sshd takes the first value of a keyword.
        let config = format!(
            "{}\n{config}",
            settings.config.replace("DIR", &dir.path().display().to_string())
        );
        std::fs::write(at("sshd_config"), config).unwrap();
        keygen(&at("user"), settings.user_key);
        std::fs::copy(at("user.pub"), at("authorized_keys")).unwrap();
        std::fs::create_dir(at("executors")).unwrap();
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut command = match &settings.prelude {
            None => Command::new("/usr/sbin/sshd"),
            Some(prelude) => {
                let mut command = Command::new("unshare");
                let prelude = prelude.replace("DIR", &dir.path().display().to_string());
                command
                    .args(["-m", "--", "sh", "-ec"])
                    .arg(format!("{prelude}\nexec /usr/sbin/sshd \"$@\""))
                    .arg("sshd");
                command
            }
        };
        command
            .args(["-D", "-e", "-f"])
            .arg(at("sshd_config"))
            .stderr(Stdio::piped())
            .stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let into = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                into.lock().unwrap().push(line);
            }
        });
        let sshd = Sshd { dir, port, child, log };
        wait_for("sshd listens", || {
            let log = sshd.log();
            assert!(!log.contains("fatal") && !log.contains("mount:"), "{log}");
            log.contains("Server listening")
        });
        sshd
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn count(&self, needle: &str) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains(needle))
            .count()
    }

    /// The listener.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processes that serve sessions now.
    pub fn sessions(&self) -> Vec<i32> {
        children_of(self.child.id().cast_signed())
    }

    pub fn public(&self, kind: &str) -> String {
        let line = std::fs::read_to_string(self.at(&format!("host_{kind}.pub"))).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    pub fn fingerprint(&self, kind: &str) -> String {
        let line = run(Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.at(&format!("host_{kind}.pub"))));
        line.split(' ').nth(1).unwrap().to_owned()
    }

    /// As the inventory would describe it; nothing of the operator's own configuration.
    pub fn target(&self) -> Target {
        Target {
            host: "web1".into(),
            address: "127.0.0.1".into(),
            port: Some(self.port),
            user: Some(me()),
            identity_file: Some(self.at("user")),
            password: None,
            escalate: Escalate::No,
            known_hosts: Some(self.at("known_hosts")),
            proxy_jump: None,
            use_operator_config: false,
            accept_new_host_keys: true,
            pinned_host_key: None,
            connect_timeout: Duration::from_secs(30),
        }
    }

    /// A shell script as executor, delivered into a directory of the test.
    pub fn tuning(&self, script: &str) -> Tuning {
        Tuning {
            payload: self.payload(script),
            ..Tuning::default()
        }
    }

    pub fn payload(&self, script: &str) -> Payload {
        let bytes = format!("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\n{script}\n").into_bytes();
        let hash = format!(
            "{:08x}",
            bytes
                .iter()
                .fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(*b)))
        );
        Payload {
            bytes: bytes.into(),
            hash,
            directory: self.at("executors").display().to_string(),
            architecture: None,
            unit_directories: vec![self.at("units").display().to_string()],
        }
    }
}

pub fn children_of(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|w| w.parse().ok()).collect()
}

pub fn signal(pid: i32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let mut family = vec![self.child.id().cast_signed()];
        let mut next = 0;
        while next < family.len() {
            family.extend(children_of(family[next]));
            next += 1;
        }
        for pid in family {
            signal(pid, "KILL");
        }
        let _ = self.child.wait();
    }
}

/// First frame of an executor.
pub fn hello() -> String {
    let facts = serde_json::to_string(&hapair::state::Facts {
        hostname: "twin".into(),
        ..Default::default()
    })
    .unwrap();
    format!("{{\"reply\":\"hello\",\"protocol\":1,\"facts\":{facts}}}")
}

/// An executor that greets and answers every line with an Ack.
pub fn acks() -> String {
    format!(
        "echo '{}'\nwhile read -r line; do\ncase $line in *bye*) exit 0;; esac\necho '{{\"reply\":\"ack\"}}'\ndone",
        hello()
    )
}

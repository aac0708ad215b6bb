//! The SSH room against a real sshd, every trap of libssh2 in turn.
#![cfg(feature = "cli")]

mod left_out;
mod remote_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hapair::remote::{Ask, Link, RemoteError, RemoteErrorKind, Target, Tuning};
use hapair::state::{Reply, Request};
use remote_support::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn connect(target: &Target, ask: Arc<dyn Ask>, tuning: Tuning) -> Result<Link, RemoteError> {
    block_on(Link::connect_with(target, ask, tuning))
}

macro_rules! sshd {
    () => {
        sshd!(Settings::default())
    };
    ($settings:expr) => {{
        if !have("/usr/sbin/sshd") {
            return;
        }
        Sshd::start($settings)
    }};
}

#[test]
fn delivered_once_then_one_connection_and_one_exec() {
    let sshd = sshd!();
    let tuning = sshd.tuning(&acks());
    let path = tuning.payload.path();
    for (age, old) in ["dddd", "cccc", "bbbb", "aaaa", "held"].into_iter().enumerate() {
        let path = sshd.at("executors").join(format!("hapair-agent-{old}"));
        std::fs::write(&path, "old").unwrap();
        let written = std::time::SystemTime::now() - Duration::from_secs(100 * age as u64);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(written).unwrap();
    }
    // The oldest is what a hold's timer runs in the end.
    let unit = sshd.at("units/hapair-undo-keepalived-service.service.d");
    std::fs::create_dir_all(&unit).unwrap();
    let held = sshd.at("executors/hapair-agent-held").display().to_string();
    let text = format!("[Service]\nExecStart=\nExecStart=\"{held}\" \"undo-fault\" \"stop\" \"keepalived.service\"\n");
    std::fs::write(unit.join("50-ExecStart.conf"), text).unwrap();
    std::fs::write(sshd.at("executors/keep-me"), "other").unwrap();
    let mut link = connect(&sshd.target(), nobody(), tuning.clone()).unwrap();
    assert_eq!(link.facts().hostname, "twin");
    assert_eq!(link.host_key(), sshd.fingerprint("ed25519"));
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    assert_eq!(std::fs::read(&path).unwrap(), &tuning.payload.bytes[..]);
    let mut left: Vec<_> = std::fs::read_dir(sshd.at("executors"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left.len(), 5, "{left:?}");
    for stays in ["keep-me", "hapair-agent-dddd", "hapair-agent-cccc", "hapair-agent-held"] {
        assert!(left.contains(&stays.into()), "{stays} in {left:?}");
    }
    let before = (sshd.count("Connection from"), sshd.count("Starting session"));
    assert_eq!(before, (1, 2));
    let mut link = connect(&sshd.target(), nobody(), tuning).unwrap();
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    wait_for("the second session is logged", || sshd.count("Starting session") == 3);
    assert_eq!(sshd.count("Connection from"), 2);
}

fn fails(target: &Target, ask: Arc<dyn Ask>, tuning: Tuning) -> String {
    let error = connect(target, ask, tuning).expect_err("this must not work");
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error}");
    assert_eq!(error.host, "web1");
    format!("{error}\nhints: {}", error.hints.join("\nhint: "))
}

fn contains(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "`{needle}` is missing in:\n{text}");
    }
}

// ---- frames ----

#[test]
fn big_frames_both_ways_at_once() {
    let sshd = sshd!();
    // Answers each request at once with an 8 MB frame while the next 8 MB request is still on its way in.
    let script = format!(
        "echo '{}'\nwhile read -r line; do\ncase $line in *bye*) exit 0;; esac\n\
         printf '{{\"reply\":\"error\",\"hints\":[],\"message\":\"'\nhead -c 8000000 /dev/zero | tr '\\0' x\n\
         printf '\"}}\\n'\ndone",
        hello()
    );
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&script)).unwrap();
    let request = Request::Fetch {
        url: "y".repeat(8_000_000),
        timeout_ms: 1,
    };
    block_on(async {
        for _ in 0..3 {
            link.send(&request).await.unwrap();
        }
        for _ in 0..3 {
            match link.recv().await.unwrap() {
                Reply::Error { message, .. } => assert_eq!(message.len(), 8_000_000),
                other => panic!("{other:?}"),
            }
        }
        link.close().await;
    });
}

#[test]
fn a_flood_on_stderr_does_not_deadlock() {
    let sshd = sshd!();
    let script = format!(
        "head -c 9000000 /dev/zero | tr '\\0' 'e' >&2\n{}\nhead -c 9000000 /dev/zero | tr '\\0' 'f' >&2",
        acks().replace("case $line", "head -c 5000000 /dev/zero | tr '\\0' 'g' >&2\ncase $line")
    );
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&script)).unwrap();
    for _ in 0..3 {
        assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    }
    block_on(link.close());
}

#[test]
fn replies_stream_while_requests_are_sent() {
    let sshd = sshd!();
    let owned = r#"{"reply":"owned","at_ms":1,"addresses":["10.0.0.1"]}"#;
    let script = format!(
        "echo '{}'\nread -r line\n(while echo '{owned}'; do sleep 0.02; done) &\nstream=$!\nread -r line\n\
         echo '{{\"reply\":\"ack\"}}'\nread -r line\nkill $stream",
        hello()
    );
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&script)).unwrap();
    block_on(async {
        let watch = Request::Watch {
            addresses: vec!["10.0.0.1".into()],
        };
        assert!(matches!(link.request(&watch).await.unwrap(), Reply::Owned { .. }));
        for _ in 0..5 {
            assert!(matches!(link.recv().await.unwrap(), Reply::Owned { .. }));
        }
        // The answer is found among what streams, and what streamed is not lost.
        assert_eq!(link.request(&Request::Unwatch).await.unwrap(), Reply::Ack);
        assert!(matches!(link.recv().await.unwrap(), Reply::Owned { .. }));
        link.close().await;
    });
}

#[test]
fn noise_before_the_greeting_is_tolerated() {
    let sshd = sshd!();
    let script = format!(
        "printf 'Welcome!\\nBytes: \\377\\376\\200\\n\\nno newline: '\n{}",
        acks()
    );
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&script)).unwrap();
    assert_eq!(link.facts().hostname, "twin");
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    // Dropped, not closed: the executor goes away by itself.
    drop(link);
    wait_for("the session ends", || sshd.sessions().is_empty());
}

#[test]
fn refusals_are_errors_only_for_request() {
    let sshd = sshd!();
    let error = r#"{"reply":"error","message":"no such unit","hints":["look"]}"#;
    let script = acks().replace("{\"reply\":\"ack\"}", error);
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&script)).unwrap();
    block_on(async {
        let refused = link.request(&Request::Unwatch).await.unwrap_err();
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (RemoteErrorKind::Refused, "no such unit")
        );
        link.send(&Request::Unwatch).await.unwrap();
        assert!(matches!(link.recv().await.unwrap(), Reply::Error { .. }));
    });
}

// ---- ends ----

fn lost(script_after_hello: &str) -> Option<RemoteError> {
    if !have("/usr/sbin/sshd") {
        return None;
    }
    let sshd = Sshd::start(Settings::default());
    let script = format!("echo '{}'\nread -r line\n{script_after_hello}", hello());
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&script)).unwrap();
    let error = block_on(link.request(&Request::Unwatch)).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Lost, "{error}");
    // And again, from every call.
    assert_eq!(block_on(link.recv()).unwrap_err().message, error.message);
    assert_eq!(
        block_on(link.send(&Request::Unwatch)).unwrap_err().message,
        error.message
    );
    Some(error)
}

#[test]
fn a_killed_executor_is_not_taken_for_a_finished_one() {
    let Some(error) = lost("echo last words >&2; kill -KILL $$") else {
        return;
    };
    contains(&error.to_string(), &["web1", "killed by signal KILL", "last words"]);
}

#[test]
fn an_executor_that_exits_is_told_with_its_last_words() {
    let Some(error) = lost("echo 'panicked: \u{fffd}' >&2; exit 101") else {
        return;
    };
    contains(&error.to_string(), &["ended with status 101", "panicked"]);
}

#[test]
fn a_frame_that_cannot_be_read_ends_the_conversation() {
    let Some(error) = lost("echo '{\"reply\":\"from the future\"}'; read -r line") else {
        return;
    };
    contains(&error.to_string(), &["cannot be read"]);
}

#[test]
fn a_cut_connection_is_lost() {
    let sshd = sshd!();
    let mut link = connect(&sshd.target(), nobody(), sshd.tuning(&acks())).unwrap();
    for pid in sshd.sessions() {
        signal(pid, "KILL");
        children_of(pid).into_iter().for_each(|pid| signal(pid, "KILL"));
    }
    let error = block_on(link.recv()).unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Lost, "{error}");
}

// ---- deadlines ----

#[test]
fn a_listener_that_never_answers_ends_within_the_deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let target = Target {
        port: Some(silent.local_addr().unwrap().port()),
        known_hosts: Some(dir.path().join("known_hosts")),
        connect_timeout: Duration::from_secs(1),
        ..target_of_nobody()
    };
    let began = Instant::now();
    let said = fails(&target, nobody(), Tuning::default());
    contains(&said, &["no answer within 1s while exchanging keys"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

fn target_of_nobody() -> Target {
    Target {
        host: "web1".into(),
        address: "127.0.0.1".into(),
        port: None,
        user: None,
        identity_file: None,
        password: None,
        escalate: hapair::remote::Escalate::No,
        known_hosts: None,
        proxy_jump: None,
        use_operator_config: false,
        accept_new_host_keys: false,
        pinned_host_key: None,
        connect_timeout: Duration::from_secs(20),
    }
}

#[test]
fn nothing_listens() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let said = fails(
        &Target {
            port: Some(port),
            ..target_of_nobody()
        },
        nobody(),
        Tuning::default(),
    );
    contains(
        &said,
        &["cannot connect to 127.0.0.1", "connection refused", "is sshd running"],
    );
}

#[test]
fn a_name_that_does_not_exist() {
    let target = Target {
        address: "does-not-exist.invalid".into(),
        ..target_of_nobody()
    };
    contains(
        &fails(&target, nobody(), Tuning::default()),
        &["cannot resolve does-not-exist.invalid"],
    );
}

#[test]
fn an_executor_that_hangs_ends_within_the_deadline() {
    let sshd = sshd!();
    let target = Target {
        connect_timeout: Duration::from_secs(3),
        ..sshd.target()
    };
    let said = fails(&target, nobody(), sshd.tuning("cat >/dev/null"));
    contains(
        &said,
        &["no answer within 3s while waiting for the delivered executor's first frame"],
    );
}

#[test]
fn a_stopped_sshd_is_noticed_although_the_kernel_answers() {
    let sshd = sshd!();
    let mut tuning = sshd.tuning(&acks());
    tuning.probe_after = Duration::from_millis(200);
    tuning.give_up_after = Duration::from_secs(3);
    let mut link = connect(&sshd.target(), nobody(), tuning).unwrap();
    // Silence of an executor that works is not the silence of a dead host.
    let quiet = block_on(async { tokio::time::timeout(Duration::from_secs(5), link.recv()).await });
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    let pids: Vec<i32> = sshd
        .sessions()
        .into_iter()
        .flat_map(|p| [vec![p], children_of(p)].concat())
        .collect();
    pids.iter().for_each(|pid| signal(*pid, "STOP"));
    let error = block_on(link.recv()).unwrap_err();
    contains(&error.to_string(), &["no answer from the host for"]);
    // Closing a conversation with a stopped peer, and freeing its session, does not hang either.
    block_on(link.close());
    pids.iter().for_each(|pid| signal(*pid, "KILL"));
}

#[test]
fn closing_and_dropping_with_a_stopped_peer_take_a_second_at_most() {
    let sshd = sshd!();
    let tuning = sshd.tuning(&acks());
    let first = connect(&sshd.target(), nobody(), tuning.clone()).unwrap();
    let second = connect(&sshd.target(), nobody(), tuning).unwrap();
    let pids: Vec<i32> = sshd
        .sessions()
        .into_iter()
        .flat_map(|p| [vec![p], children_of(p)].concat())
        .collect();
    pids.iter().for_each(|pid| signal(*pid, "STOP"));
    let began = Instant::now();
    drop(first);
    assert!(began.elapsed() < Duration::from_millis(500));
    block_on(second.close());
    // Generous: the machine may be busy. A hang would be forever.
    assert!(began.elapsed() < Duration::from_secs(10));
    pids.iter().for_each(|pid| signal(*pid, "KILL"));
}

#[test]
fn a_connect_that_is_not_waited_for_any_more_is_cut() {
    let sshd = sshd!();
    block_on(async {
        let target = sshd.target();
        let attempt = Link::connect_with(&target, nobody(), sshd.tuning("cat >/dev/null"));
        let _ = tokio::time::timeout(Duration::from_millis(1500), attempt).await;
    });
    wait_for("sshd sees the end", || sshd.sessions().is_empty());
}

// ---- host keys ----

#[test]
fn an_unknown_key_is_asked_about_and_stored() {
    let sshd = sshd!();
    let target = Target {
        accept_new_host_keys: false,
        ..sshd.target()
    };
    let refuses = nobody();
    let said = fails(&target, refuses.clone(), sshd.tuning(&acks()));
    contains(
        &said,
        &[
            "unknown and was not accepted",
            &sshd.fingerprint("ed25519"),
            "--accept-new-host-keys",
        ],
    );
    assert!(!sshd.at("known_hosts").exists());
    let accepts = Arc::new(Person {
        accept: true,
        ..Person::default()
    });
    block_on(connect(&target, accepts.clone(), sshd.tuning(&acks())).unwrap().close());
    let asked = accepts.questions.lock().unwrap().clone();
    assert_eq!(
        asked,
        [format!(
            "[127.0.0.1]:{} ssh-ed25519 {}",
            sshd.port,
            sshd.fingerprint("ed25519")
        )]
    );
    // OpenSSH finds what was written, and the second connection has no question.
    let name = format!("[127.0.0.1]:{}", sshd.port);
    run(std::process::Command::new("ssh-keygen")
        .args(["-F", &name, "-f"])
        .arg(sshd.at("known_hosts")));
    block_on(connect(&target, nobody(), sshd.tuning(&acks())).unwrap().close());
}

#[test]
fn a_changed_key_is_refused_with_file_and_line() {
    let sshd = sshd!();
    keygen(&sshd.at("host_other"), &["-t", "ed25519"]);
    let other = sshd.fingerprint("other");
    let line = format!("# comment\n[127.0.0.1]:{} {}\n", sshd.port, sshd.public("other"));
    std::fs::write(sshd.at("known_hosts"), &line).unwrap();
    let said = fails(&sshd.target(), nobody(), sshd.tuning(&acks()));
    let file = format!("{}:2", sshd.at("known_hosts").display());
    contains(
        &said,
        &[
            "has changed",
            &sshd.fingerprint("ed25519"),
            &other,
            &file,
            "ssh-keygen -R",
        ],
    );
    assert_eq!(std::fs::read_to_string(sshd.at("known_hosts")).unwrap(), line);
}

#[test]
fn known_hosts_forms_of_openssh() {
    let sshd = sshd!(Settings {
        host_keys: &["ed25519", "ecdsa", "rsa"],
        ..Settings::default()
    });
    let name = format!("[127.0.0.1]:{}", sshd.port);
    let target = Target {
        accept_new_host_keys: false,
        ..sshd.target()
    };
    let try_with = |text: &str| {
        std::fs::write(sshd.at("known_hosts"), text).unwrap();
        let got = connect(&target, nobody(), sshd.tuning(&acks()));
        got.map(|link| link.host_key().to_owned()).map_err(|e| e.to_string())
    };
    let ed25519 = sshd.public("ed25519");
    assert_eq!(
        try_with(&format!("[127.0.*]:* {ed25519}\n")).unwrap(),
        sshd.fingerprint("ed25519")
    );
    assert_eq!(
        try_with(&format!("other,{name} {ed25519}")).unwrap(),
        sshd.fingerprint("ed25519")
    );
    // Only another type known than the one the server would show first.
    for kind in ["ecdsa", "rsa"] {
        assert_eq!(
            try_with(&format!("{name} {}\n", sshd.public(kind))).unwrap(),
            sshd.fingerprint(kind)
        );
    }
    // Hashed by OpenSSH itself.
    std::fs::write(sshd.at("known_hosts"), format!("{name} {ed25519}\n")).unwrap();
    run(std::process::Command::new("ssh-keygen")
        .args(["-H", "-f"])
        .arg(sshd.at("known_hosts")));
    let hashed = std::fs::read_to_string(sshd.at("known_hosts")).unwrap();
    assert!(hashed.starts_with("|1|"), "{hashed}");
    assert_eq!(try_with(&hashed).unwrap(), sshd.fingerprint("ed25519"));
    contains(
        &try_with(&format!("{name} {ed25519}\n@revoked * {ed25519}\n")).unwrap_err(),
        &["revoked", "known_hosts:2"],
    );
    contains(&try_with(&format!("*,!{name} {ed25519}\n")).unwrap_err(), &["unknown"]);
    contains(
        &try_with(&format!("@cert-authority {name} {ed25519}\n")).unwrap_err(),
        &["unknown"],
    );
}

#[test]
fn a_pinned_key_is_the_only_one_accepted() {
    let sshd = sshd!(Settings {
        host_keys: &["ed25519", "ecdsa"],
        ..Settings::default()
    });
    let pin = |fingerprint: String| Target {
        pinned_host_key: Some(fingerprint),
        accept_new_host_keys: false,
        ..sshd.target()
    };
    let said = fails(&pin("SHA256:another".into()), nobody(), sshd.tuning(&acks()));
    contains(&said, &["another machine answers there", "SHA256:another"]);
    // Seen before under another name, and of a type that the server would not show first.
    std::fs::write(
        sshd.at("known_hosts"),
        format!("old-address {}\n", sshd.public("ecdsa")),
    )
    .unwrap();
    let link = connect(&pin(sshd.fingerprint("ecdsa")), nobody(), sshd.tuning(&acks())).unwrap();
    assert_eq!(link.host_key(), sshd.fingerprint("ecdsa"));
    let stored = std::fs::read_to_string(sshd.at("known_hosts")).unwrap();
    contains(
        &stored,
        &[&format!("[127.0.0.1]:{} {}", sshd.port, sshd.public("ecdsa"))],
    );
}

// ---- login ----

#[test]
fn keys_of_every_kind() {
    for user_key in [
        &["-t", "ed25519"][..],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "ecdsa"],
        &["-t", "rsa", "-m", "PEM"],
    ] {
        let sshd = sshd!(Settings {
            user_key: Box::leak(user_key.into()),
            ..Settings::default()
        });
        connect(&sshd.target(), nobody(), sshd.tuning(&acks())).unwrap_or_else(|e| panic!("{user_key:?}: {e}"));
    }
}

#[test]
fn encrypted_keys_ask_for_their_passphrase() {
    let kinds: [&[&str]; 4] = [
        &["-t", "ed25519"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "ecdsa"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
    ];
    for kind in kinds {
        let arguments = [kind, &["-N", "open sesame"]].concat();
        let sshd = sshd!(Settings {
            user_key: Box::leak(arguments.into()),
            ..Settings::default()
        });
        let target = sshd.target();
        let said = fails(&target, nobody(), sshd.tuning(&acks()));
        contains(&said, &["encrypted, and no right passphrase was given", "ssh-add"]);
        let wrong = person(&["a", "b", "c", "d"]);
        let said = fails(&target, wrong.clone(), sshd.tuning(&acks()));
        assert_eq!(wrong.questions.lock().unwrap().len(), 3, "{kind:?}: {said}");
        let right = person(&["wrong", "open sesame"]);
        let link = connect(&target, right.clone(), sshd.tuning(&acks())).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
        drop(link);
        let asked = right.questions.lock().unwrap().clone();
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(
            asked[0].starts_with("passphrase for key ") && asked[1].ends_with("(try 2 of 3)"),
            "{asked:?}"
        );
        // The fresh connection of a confirm does not ask again.
        connect(&target, nobody(), sshd.tuning(&acks())).unwrap();
    }
}

#[test]
fn an_encrypted_key_that_the_server_does_not_want_asks_nothing() {
    let sshd = sshd!(Settings {
        user_key: &["-t", "ed25519", "-N", "open sesame"],
        ..Settings::default()
    });
    std::fs::write(sshd.at("authorized_keys"), "").unwrap();
    let asked = person(&["open sesame"]);
    contains(
        &fails(&sshd.target(), asked.clone(), sshd.tuning(&acks())),
        &["not accepted by the server"],
    );
    assert!(asked.questions.lock().unwrap().is_empty());
}

#[test]
fn unusable_keys_are_named_with_the_reason() {
    let sshd = sshd!();
    let missing = Target {
        identity_file: Some(sshd.at("no-such-key")),
        ..sshd.target()
    };
    contains(
        &fails(&missing, nobody(), sshd.tuning(&acks())),
        &["no-such-key: cannot be read: no such file"],
    );
    run(std::process::Command::new("chmod").arg("644").arg(sshd.at("user")));
    contains(
        &fails(&sshd.target(), nobody(), sshd.tuning(&acks())),
        &["can be read by others", "chmod 600"],
    );
    let public = Target {
        identity_file: Some(sshd.at("user.pub")),
        ..sshd.target()
    };
    run(std::process::Command::new("chmod").arg("600").arg(sshd.at("user.pub")));
    contains(&fails(&public, nobody(), sshd.tuning(&acks())), &["is a public key"]);
}

/// An SSH agent of the test's own.
struct Agent(i32, std::path::PathBuf);

impl Agent {
    fn start(sshd: &Sshd, keys: &[&str]) -> Agent {
        let socket = sshd.at("agent");
        let text = run(std::process::Command::new("ssh-agent").arg("-a").arg(&socket));
        let pid = text
            .split("SSH_AGENT_PID=")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let agent = Agent(pid, socket);
        for key in keys {
            run(std::process::Command::new("ssh-add")
                .arg("-q")
                .arg(sshd.at(key))
                .env("SSH_AUTH_SOCK", &agent.1));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        signal(self.0, "TERM");
    }
}

/// With an ssh_config of the test's own.
fn configured(sshd: &Sshd, lines: &str) -> (Target, Tuning) {
    let config = format!(
        "Host *\nHashKnownHosts no\nUserKnownHostsFile {}\n{lines}\n",
        sshd.at("known_hosts").display()
    );
    std::fs::write(sshd.at("ssh_config"), config).unwrap();
    let target = Target {
        use_operator_config: true,
        known_hosts: None,
        identity_file: None,
        ..sshd.target()
    };
    (
        target,
        Tuning {
            ssh_config: Some(sshd.at("ssh_config")),
            ..sshd.tuning(&acks())
        },
    )
}

#[test]
fn every_key_of_the_agent_is_tried() {
    let sshd = sshd!();
    for (name, kind) in [("one", "ed25519"), ("two", "ecdsa")] {
        keygen(&sshd.at(name), &["-t", kind]);
    }
    let agent = Agent::start(&sshd, &["one", "two", "user"]);
    let lines = format!("IdentityAgent {}\nIdentityFile none", agent.1.display());
    let (target, tuning) = configured(&sshd, &lines);
    connect(&target, nobody(), tuning).unwrap();
    assert!(sshd.count("Failed publickey") >= 2, "{}", sshd.log());
    // IdentitiesOnly: the agent signs, but only with the key that is named, and needs only its public half.
    std::fs::rename(sshd.at("user"), sshd.at("moved")).unwrap();
    let before = sshd.count("Failed publickey");
    let named = format!(
        "{}\nIdentitiesOnly yes\nIdentityFile {}",
        lines.lines().next().unwrap(),
        sshd.at("user").display()
    );
    let (target, tuning) = configured(&sshd, &named);
    connect(&target, nobody(), tuning).unwrap();
    assert_eq!(sshd.count("Failed publickey"), before);
}

#[test]
fn too_many_keys_of_the_agent_are_explained() {
    let sshd = sshd!();
    let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    for name in &names {
        keygen(&sshd.at(name), &["-t", "ed25519"]);
    }
    let agent = Agent::start(&sshd, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let (target, tuning) = configured(
        &sshd,
        &format!("IdentityAgent {}\nIdentityFile none", agent.1.display()),
    );
    let said = fails(&target, nobody(), tuning);
    contains(&said, &["the server hung up", "MaxAuthTries", "ssh.identity_file"]);
}

#[test]
fn an_absent_agent_does_no_harm() {
    let sshd = sshd!();
    let (target, tuning) = configured(&sshd, "IdentityAgent /nonexistent/agent\nIdentityFile none");
    contains(
        &fails(&target, nobody(), tuning.clone()),
        &["SSH agent /nonexistent/agent: failed connecting with agent"],
    );
    let target = Target {
        identity_file: Some(sshd.at("user")),
        ..target
    };
    connect(&target, nobody(), tuning).unwrap();
}

// ---- ssh_config ----

#[test]
fn ssh_config_is_honoured_and_the_inventory_wins() {
    let sshd = sshd!();
    let lines = format!(
        "Host edge\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\nIdentityAgent none\nHostKeyAlias the-alias",
        sshd.port,
        me(),
        sshd.at("user").display()
    );
    let (target, tuning) = configured(&sshd, &lines);
    let target = Target {
        address: "edge".into(),
        port: None,
        user: None,
        ..target
    };
    connect(&target, nobody(), tuning.clone()).unwrap();
    let stored = std::fs::read_to_string(sshd.at("known_hosts")).unwrap();
    contains(&stored, &["the-alias ssh-ed25519"]);
    // The inventory's port and user.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let other = Target {
        port: Some(port),
        ..target.clone()
    };
    contains(
        &fails(&other, nobody(), tuning.clone()),
        &[&format!("127.0.0.1:{port}")],
    );
    let other = Target {
        user: Some("nobody-else".into()),
        ..target
    };
    contains(&fails(&other, nobody(), tuning), &["login as nobody-else was refused"]);
}

#[test]
fn the_default_login_is_root_and_not_the_local_user() {
    let sshd = sshd!();
    let (target, tuning) = configured(&sshd, "IdentityAgent none\nIdentityFile none");
    let target = Target { user: None, ..target };
    contains(&fails(&target, nobody(), tuning), &["login as root was refused"]);
}

#[test]
fn a_broken_ssh_config_is_told_in_ssh_s_own_words() {
    let sshd = sshd!();
    let (target, tuning) = configured(&sshd, "NoSuchKeyword yes");
    contains(&fails(&target, nobody(), tuning), &["refuses your ssh configuration"]);
}

#[test]
fn through_a_proxy_command() {
    let sshd = sshd!();
    let lines = "ProxyCommand perl -MIO::Socket -e '$s=IO::Socket::INET->new(PeerAddr=>\"%h:%p\") or die; \
        if(fork){while(sysread($s,$b,65536)){syswrite(STDOUT,$b)}exit}\
        while(sysread(STDIN,$b,65536)){syswrite($s,$b)}shutdown($s,1)'\nIdentityAgent none";
    let (target, tuning) = configured(&sshd, lines);
    let target = Target {
        identity_file: Some(sshd.at("user")),
        ..target
    };
    let mut link = connect(&target, nobody(), tuning.clone()).unwrap();
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    let (target, tuning) = configured(
        &sshd,
        "ProxyCommand echo 'no way through' >&2; exit 1\nIdentityAgent none",
    );
    contains(
        &fails(&target, nobody(), tuning),
        &["ProxyCommand gives no connection", "no way through"],
    );
}

#[test]
fn through_a_jump_host() {
    let sshd = sshd!();
    if !have("/usr/bin/ssh") {
        return;
    }
    // The jump host is the same sshd.
    let known = format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.public("ed25519"));
    std::fs::write(sshd.at("known_hosts"), known).unwrap();
    let target = Target {
        proxy_jump: Some(format!("{}@127.0.0.1:{}", me(), sshd.port)),
        ..sshd.target()
    };
    let mut link = connect(&target, nobody(), sshd.tuning(&acks())).unwrap();
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    wait_for("the jump's ssh is gone", || sshd.sessions().is_empty());
    let target = Target {
        proxy_jump: Some("nobody-at-all@127.0.0.1:1".into()),
        ..sshd.target()
    };
    contains(
        &fails(&target, nobody(), sshd.tuning(&acks())),
        &["the jump host nobody-at-all@127.0.0.1:1 gives no connection"],
    );
}

// ---- delivery ----

#[test]
fn another_architecture_is_refused_before_anything_is_sent() {
    let sshd = sshd!();
    let mut tuning = sshd.tuning(&acks());
    tuning.payload.architecture = Some("s390x".into());
    contains(&fails(&sshd.target(), nobody(), tuning), &["serves s390x only"]);
    assert_eq!(std::fs::read_dir(sshd.at("executors")).unwrap().count(), 0);
}

#[test]
fn an_executor_that_does_not_run_leaves_nothing_behind() {
    let sshd = sshd!();
    let mut tuning = sshd.tuning("");
    tuning.payload.bytes = b"\x7fELFnot really".to_vec().into();
    contains(&fails(&sshd.target(), nobody(), tuning), &["may not be run", "noexec"]);
    assert_eq!(std::fs::read_dir(sshd.at("executors")).unwrap().count(), 0);
}

#[test]
fn an_empty_file_in_the_executor_s_place_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let sshd = sshd!();
    let tuning = sshd.tuning(&acks());
    let path = tuning.payload.path();
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    connect(&sshd.target(), nobody(), tuning.clone()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), &tuning.payload.bytes[..]);
}

#[test]
fn a_directory_that_cannot_be_made() {
    let sshd = sshd!();
    let mut tuning = sshd.tuning(&acks());
    std::fs::write(sshd.at("file"), "").unwrap();
    tuning.payload.directory = sshd.at("file/dir").display().to_string();
    contains(
        &fails(&sshd.target(), nobody(), tuning),
        &["cannot put the executor into", "Not a directory"],
    );
}

// ---- a local child ----

#[test]
fn a_local_child_uses_the_same_protocol() {
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(acks());
    let mut link = block_on(Link::local("twin", command)).unwrap();
    assert_eq!((link.host(), link.facts().hostname.as_str()), ("twin", "twin"));
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "echo broken >&2; exit 3"]);
    let error = block_on(Link::local("twin", command)).unwrap_err();
    contains(
        &error.to_string(),
        &["twin: the executor ended with status 3", "broken"],
    );
}

// ---- the real executor ----

#[test]
fn the_real_executor_greets_and_answers() {
    let sshd = sshd!();
    let mut tuning = Tuning::default();
    tuning.payload.directory = sshd.at("executors").display().to_string();
    for _ in 0..2 {
        let mut link = connect(&sshd.target(), nobody(), tuning.clone()).unwrap();
        let node = run(std::process::Command::new("uname").arg("-n"));
        assert_eq!(link.facts().hostname, node.trim());
        let refused = Request::Fetch {
            url: "http://127.0.0.1:1/".into(),
            timeout_ms: 1000,
        };
        assert!(matches!(
            block_on(link.request(&refused)).unwrap(),
            Reply::Fetched { status: 0, .. }
        ));
        block_on(link.close());
    }
    wait_for("three execs in all", || sshd.count("Starting session") == 3);
}

// ---- passwords and sudo, with a user, shadow and sudoers that exist only in the server's mount namespace ----

const PASSWORD: &str = "Pass w0rd'\"$x";

/// sshd in a mount namespace where the login `twin` exists; `sudoers` is its rule.
fn with_twin(sudoers: &str, config: &str) -> Option<Sshd> {
    if !have("/usr/sbin/sshd") || !have("/usr/bin/sudo") {
        return None;
    }
    let namespaces = std::process::Command::new("unshare")
        .args(["-m", "true"])
        .status()
        .is_ok_and(|s| s.success());
    if me() != "root" || !namespaces {
        left_out::missing_here("root and mount namespaces");
        return None;
    }
    let hash = run(std::process::Command::new("perl").args(["-e", "print crypt($ARGV[0], q($6$saltsalt$))", PASSWORD]));
    let prelude = format!(
        "for f in passwd shadow group; do cp /etc/$f DIR/$f; done\n\
         echo 'twin:x:54321:54321::/tmp:/bin/sh' >> DIR/passwd\n\
         echo 'twin:x:54321:' >> DIR/group\n\
         echo 'twin:{hash}:19000:0:99999:7:::' >> DIR/shadow\n\
         chmod 640 DIR/shadow\n\
         printf 'Defaults secure_path=/sbin:/bin:/usr/sbin:/usr/bin\\nDefaults env_reset\\n%b\\n' '{sudoers}' > DIR/sudoers\n\
         chmod 440 DIR/sudoers\n\
         for f in passwd shadow group sudoers; do mount --bind DIR/$f /etc/$f; done"
    );
    Some(Sshd::start(Settings {
        prelude: Some(prelude),
        config: config.to_owned(),
        ..Settings::default()
    }))
}

fn as_twin(sshd: &Sshd, sudo: Option<&str>) -> Target {
    use hapair::remote::Escalate;
    let escalate = Escalate::Sudo(sudo.map(hapair::state::Secret::new));
    Target {
        user: Some("twin".into()),
        escalate,
        ..sshd.target()
    }
}

/// Greets with the uid it runs under as host name.
fn who_am_i() -> String {
    let text = acks();
    text.replacen("\"hostname\":\"twin\"", "\"hostname\":\"'`id -u`'\"", 1)
}

#[test]
fn password_login_right_wrong_and_asked_for() {
    let Some(sshd) = with_twin("", "PasswordAuthentication yes") else {
        return;
    };
    let login = |password: Option<&str>| Target {
        password: password.map(hapair::state::Secret::new),
        identity_file: None,
        user: Some("twin".into()),
        ..sshd.target()
    };
    run(std::process::Command::new("chmod").arg("777").arg(sshd.at("executors")));
    let said = fails(&login(Some("wrong")), nobody(), sshd.tuning(&acks()));
    contains(
        &said,
        &["login as twin was refused", "password: not accepted by the server"],
    );
    assert!(!said.contains("wrong"), "{said}");
    contains(
        &fails(&login(None), nobody(), sshd.tuning(&acks())),
        &["password: none given"],
    );
    connect(&login(Some(PASSWORD)), nobody(), sshd.tuning(&acks())).unwrap();
    let asked = person(&["wrong", PASSWORD]);
    connect(&login(None), asked.clone(), sshd.tuning(&acks())).unwrap();
    let questions = asked.questions.lock().unwrap().clone();
    assert_eq!(
        questions,
        ["password of twin@127.0.0.1", "password of twin@127.0.0.1 (try 2 of 3)"]
    );
    // Remembered for the next connection of the same process.
    connect(&login(None), nobody(), sshd.tuning(&acks())).unwrap();
}

#[test]
fn sudo_without_a_password() {
    let Some(sshd) = with_twin("twin ALL=(ALL) NOPASSWD: ALL", "") else {
        return;
    };
    // A password that is not asked for is not sent: the executor would take it for a frame.
    for password in [None, Some(PASSWORD)] {
        let mut link = connect(&as_twin(&sshd, password), nobody(), sshd.tuning(&who_am_i())).unwrap();
        assert_eq!(link.facts().hostname, "0");
        assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
        let more = block_on(async { tokio::time::timeout(Duration::from_millis(300), link.recv()).await });
        assert!(more.is_err(), "{more:?}");
        block_on(link.close());
    }
}

#[test]
fn sudo_with_a_password() {
    let Some(sshd) = with_twin("twin ALL=(ALL) ALL", "") else {
        return;
    };
    let tuning = sshd.tuning(&who_am_i());
    let said = fails(&as_twin(&sshd, Some("not-it")), nobody(), tuning.clone());
    contains(&said, &["sudo on the host does not accept the password of twin"]);
    assert!(!said.contains("not-it"), "{said}");
    contains(
        &fails(&as_twin(&sshd, None), nobody(), tuning.clone()),
        &["wants the password of twin, and none is given"],
    );
    // The first delivers, the second only runs.
    for _ in 0..2 {
        let mut link = connect(&as_twin(&sshd, Some(PASSWORD)), nobody(), tuning.clone()).unwrap();
        assert_eq!(link.facts().hostname, "0");
        let big = Request::Fetch {
            url: "y".repeat(3_000_000),
            timeout_ms: 1,
        };
        assert_eq!(block_on(link.request(&big)).unwrap(), Reply::Ack);
        block_on(link.close());
    }
    let asked = person(&[PASSWORD]);
    connect(&as_twin(&sshd, None), asked.clone(), tuning).unwrap();
    assert_eq!(*asked.questions.lock().unwrap(), ["sudo password of twin on web1"]);
}

#[test]
fn sudo_that_wants_a_terminal() {
    for rule in ["twin ALL=(ALL) NOPASSWD: ALL", "twin ALL=(ALL) ALL"] {
        let Some(sshd) = with_twin(&format!("Defaults requiretty\\n{rule}"), "") else {
            return;
        };
        let mut link = connect(&as_twin(&sshd, Some(PASSWORD)), nobody(), sshd.tuning(&who_am_i())).unwrap();
        assert_eq!(link.facts().hostname, "0");
        // A terminal in its usual mode would stop at 4096 bytes a line and send back what it gets.
        let big = Request::Fetch {
            url: "y".repeat(1_000_000),
            timeout_ms: 1,
        };
        assert_eq!(block_on(link.request(&big)).unwrap(), Reply::Ack);
        block_on(link.close());
    }
}

#[test]
fn sudo_that_does_not_let_us() {
    let Some(sshd) = with_twin("root ALL=(ALL) ALL", "") else {
        return;
    };
    let said = fails(&as_twin(&sshd, Some(PASSWORD)), nobody(), sshd.tuning(&acks()));
    contains(&said, &["not in the sudoers file", "/etc/sudoers.d/twin"]);
}

#[test]
fn root_needs_no_sudo_even_where_the_inventory_allows_it() {
    let sshd = sshd!();
    if me() != "root" {
        return;
    }
    let target = Target {
        escalate: hapair::remote::Escalate::Sudo(None),
        ..sshd.target()
    };
    connect(&target, nobody(), sshd.tuning(&acks())).unwrap();
}

#[test]
fn a_full_disk_and_a_noexec_mount_are_named_and_left_clean() {
    if me() != "root" {
        left_out::missing_here("root");
        return;
    }
    let cases = [
        ("size=64k", &["No space left", "df -h"][..]),
        ("noexec", &["may not be run", "findmnt"]),
    ];
    for (options, needles) in cases {
        let prelude = format!("mount -t tmpfs -o {options} none DIR/executors; echo 1 > DIR/executors/mine");
        let sshd = sshd!(Settings {
            prelude: Some(prelude),
            ..Settings::default()
        });
        let mut tuning = sshd.tuning(&acks());
        tuning.payload.bytes.to_mut().extend(b"# filler\n".repeat(500_000));
        contains(&fails(&sshd.target(), nobody(), tuning), needles);
        // Seen from inside the server's mount namespace, whose root its listener shows.
        let inside = format!("/proc/{}/root{}", sshd.pid(), sshd.at("executors").display());
        let left: Vec<_> = std::fs::read_dir(inside)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["mine"]);
    }
}

//! Secrets appear in no output, log, process argument or diff, and in no file that others can read.

use std::io::Read;

use crate::support::*;

const SECRET: &str = "q7Zx9Wv2";
const SUDO: &str = "correct-horse-battery";

#[test]
fn secrets_never_leak() {
    let inventory = example_with(&[
        ("auth_pass: \"1111\"", "auth_pass: {env: HAPAIR_TEST_AUTH}"),
        ("user: root", &format!("user: deploy\n  become: {{password: {SUDO}}}")),
    ]);
    // SAFETY: the tests of this file run one at a time under the twins' lock, and nothing else reads this variable.
    unsafe { std::env::set_var("HAPAIR_TEST_AUTH", SECRET) };
    let twins = Twins::up(&inventory);
    let mut shown = String::new();
    for args in [
        &["plan"][..],
        &["plan", "--output", "json"],
        &["render"],
        &["apply", "--yes", "-v"],
        &["plan", "-v"],
        &["status"],
        &["failover", "--yes", "--scenario", "vrrp-stop", "-v"],
    ] {
        if args[0] == "apply" {
            shown.push_str(&apply_watching_arguments(&twins, args));
            continue;
        }
        shown.push_str(&twins.hapair(args).all());
    }
    // A diff of a file that holds an old and a new secret, neither of which may show.
    for host in HOSTS {
        twins.sh(
            host,
            "sed -i 's/auth_pass .*/auth_pass oldpass1/' /etc/keepalived/keepalived.conf",
        );
    }
    shown.push_str(&twins.hapair(&["plan"]).expect(3).all());
    for secret in [SECRET, SUDO, "oldpass1"] {
        assert!(!shown.contains(secret), "`{secret}` was shown:\n{shown}");
    }
    for host in HOSTS {
        for secret in [SECRET, SUDO] {
            let logs = twins.try_sh(
                host,
                &format!("journalctl -q --no-pager | grep -F -- {secret}; grep -rF -- {secret} /var/log 2>/dev/null"),
            );
            assert_eq!(logs.stdout, "", "in a log of {host}");
            // /etc/shadow has a hash; what holds the secret itself must be root's alone.
            let files = twins.sh(host, &format!("grep -rlF -- {secret} /etc /usr/local /usr/libexec /var/lib/hapair /run 2>/dev/null | xargs -r stat -c '%n %a %U'"));
            for line in files.lines() {
                assert!(line.ends_with("00 root"), "others can read a secret on {host}: {line}");
            }
        }
    }
}

/// Applies, and meanwhile looks at the arguments and environment of every process of the machine, the twins' included.
fn apply_watching_arguments(twins: &Twins, args: &[&str]) -> String {
    let mut child = twins.spawn(args);
    let mut leaks = Vec::new();
    let mut pipes = (
        child.stdout.take().expect("stdout"),
        child.stderr.take().expect("stderr"),
    );
    let readers = [
        std::thread::spawn(move || read_all(&mut pipes.0)),
        std::thread::spawn(move || read_all(&mut pipes.1)),
    ];
    while child.try_wait().expect("hapair").is_none() {
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            if arguments.contains(SECRET) || arguments.contains(SUDO) {
                leaks.push(arguments);
            }
        }
    }
    assert!(leaks.is_empty(), "in process arguments: {leaks:?}");
    let shown: String = readers.map(|r| r.join().expect("reader")).concat();
    assert_eq!(child.wait().expect("hapair").code(), Some(0), "{shown}");
    shown
}

fn read_all(from: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("readable");
    String::from_utf8_lossy(&bytes).into_owned()
}

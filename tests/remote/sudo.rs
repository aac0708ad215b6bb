//! Passwords and sudo, with a user, shadow and sudoers that exist only in the server's mount namespace.

use super::*;

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

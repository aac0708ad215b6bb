//! Known, unknown and changed host keys.

use super::*;

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
        got.map(|link| link.host_key().to_owned()).map_err(|e| e.in_full())
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

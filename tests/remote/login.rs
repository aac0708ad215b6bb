//! Logging in with keys from files.

use super::*;

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

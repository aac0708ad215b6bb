//! How the executor gets onto the host, once.

use super::*;

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

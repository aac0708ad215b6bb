//! A local child and the real executor.

use super::*;

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
    contains(&error.in_full(), &["twin: the executor ended with status 3", "broken"]);
}

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

//! Peers that do not answer, and connections that are not waited for.

use super::*;

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
    contains(&error.in_full(), &["no answer from the host for"]);
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

//! How a conversation ends before its time.

use super::*;

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
    contains(&error.in_full(), &["web1", "killed by signal KILL", "last words"]);
}

#[test]
fn an_executor_that_exits_is_told_with_its_last_words() {
    let Some(error) = lost("echo 'panicked: \u{fffd}' >&2; exit 101") else {
        return;
    };
    contains(&error.in_full(), &["ended with status 101", "panicked"]);
}

#[test]
fn a_frame_that_cannot_be_read_ends_the_conversation() {
    let Some(error) = lost("echo '{\"reply\":\"from the future\"}'; read -r line") else {
        return;
    };
    contains(&error.in_full(), &["cannot be read"]);
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

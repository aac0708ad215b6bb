//! What travels over a connection: large frames, noise, refusals.

use super::*;

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

//! One operator at a time: serving processes side by side on one directory that stands for a host.
#![cfg(feature = "agent")]

mod host_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hapair::host::record::request::Stored;
use hapair::host::record::txn::Txn;
use hapair::state::UnitAction;
use hapair::state::frame::{IfHeld, Operator};
use hapair::state::{Reply, Request, TxnId};
use host_support::*;

/// Names the directory to the processes that serve.
const ROOT: &str = "HAPAIR_TEST_SERVE_ROOT";

/// Not a test but what the others start: this binary again, as the executor.
#[test]
fn serving_process() {
    if let Some(directory) = std::env::var_os(ROOT) {
        hapair::host::serve::session::serve(&Root::at(directory));
    }
}

/// A serving process, and a controller that talks to it.
struct Served {
    child: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Served {
    fn start(root: &Root) -> Served {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serving_process", "--nocapture"])
            .env(ROOT, root.path("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut served = Served {
            requests: child.stdin.take(),
            replies: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert!(matches!(served.reply(), Reply::Hello { .. }));
        served
    }

    fn ask(&mut self, request: &Request) -> Reply {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.requests.as_mut().unwrap().write_all(&line).unwrap();
        self.reply()
    }

    /// The test harness says something too, on the same stream.
    fn reply(&mut self) -> Reply {
        loop {
            let mut line = String::new();
            assert!(
                self.replies.read_line(&mut line).unwrap() > 0,
                "it ended without an answer"
            );
            if let Some(at) = line.find("{\"reply\"") {
                return serde_json::from_str(&line[at..]).unwrap();
            }
        }
    }

    fn lock(&mut self, operator: &Operator) -> Reply {
        self.ask(&Request::Lock {
            operator: Some(operator.clone()),
        })
    }

    /// A request that needs the lock, and would find nothing to stop.
    fn change(&mut self) -> Reply {
        self.ask(&Request::Unit {
            unit: "hapair-test-no-such-unit.service".into(),
            action: UnitAction::Stop,
        })
    }

    /// Ends as a connection ends, and waits until it has.
    fn end(mut self) {
        self.requests = None;
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn operator(name: &str, run: &str, if_held: IfHeld) -> Operator {
    Operator {
        name: name.into(),
        run: run.into(),
        if_held,
    }
}

#[track_caller]
fn locked(reply: Reply) -> (Option<String>, Option<String>) {
    match reply {
        Reply::Locked { broke, running } => (broke.map(|b| b.operator), running.map(|r| r.to_string())),
        other => panic!("not locked: {other:?}"),
    }
}

#[track_caller]
fn refused(reply: Reply, why: &str) {
    match reply {
        Reply::Error { message, .. } => assert!(message.contains(why), "`{why}` is not in: {message}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_second_operator_is_told_who_and_breaks_it_only_on_request() {
    let (_dir, root) = host();
    let (mut ann, mut bob) = (Served::start(&root), Served::start(&root));
    let hers = operator("ann@desk", "a1", IfHeld::Refuse);
    let his = operator("bob@desk", "b1", IfHeld::Refuse);
    assert_eq!(locked(ann.lock(&hers)), (None, None));
    assert_eq!(locked(ann.lock(&hers)), (None, None), "keeping it is no second taking");
    let mode = fs::metadata(root.path("/run/hapair.lock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    refused(bob.lock(&his), "the host is locked by ann@desk since 20");
    refused(bob.change(), "operator lock");

    let breaking = Operator {
        if_held: IfHeld::Break,
        ..his.clone()
    };
    assert_eq!(locked(bob.lock(&breaking)), (Some("ann@desk".into()), None));
    let lost = "the operator lock was taken over by bob@desk at 20";
    refused(ann.lock(&hers), lost);
    refused(ann.change(), lost);
    refused(ann.ask(&Request::Purge), lost);
    // Also over a fresh connection, and when he has done.
    let mut again = Served::start(&root);
    refused(again.lock(&hers), lost);
    assert!(matches!(bob.ask(&Request::Lock { operator: None }), Reply::Ack));
    refused(ann.change(), lost);
    refused(again.lock(&hers), lost);
    bob.end();
    // Her next run is another.
    assert_eq!(
        locked(again.lock(&operator("ann@desk", "a2", IfHeld::Refuse))),
        (None, None)
    );
}

#[test]
fn a_fresh_connection_of_the_same_run_takes_it_over_and_a_dead_one_holds_nothing() {
    let (_dir, root) = host();
    let run = operator("ann@desk", "a1", IfHeld::Refuse);
    let mut first = Served::start(&root);
    locked(first.lock(&run));
    let mut second = Served::start(&root);
    assert_eq!(locked(second.lock(&run)), (None, None));
    assert!(
        !first.child.wait().unwrap().success(),
        "the earlier connection was ended"
    );
    let mut other = Served::start(&root);
    let bob = operator("bob@desk", "b1", IfHeld::Break);
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    // Nobody is there to be broken.
    assert_eq!(locked(other.lock(&bob)), (None, None));
}

/// A transaction that runs, as far as anybody can see: its request, and the lock that it holds.
fn running(root: &Root, id: &str) -> fs::File {
    let txn = Txn::new(root, &TxnId::new(id).unwrap());
    let request = Stored {
        state: state(vec![]),
        stages: vec![],
        confirm_timeout: 5,
        operator: "ann@desk".into(),
        back: None,
    };
    request.store(&txn).unwrap();
    let file = fs::File::create(root.path("/run/hapair-txn.lock")).unwrap();
    // SAFETY: the descriptor is open as long as `file` lives.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
    file
}

#[test]
fn who_breaks_it_is_told_of_the_transaction_that_still_runs() {
    let (_dir, root) = host();
    let (mut ann, mut bob) = (Served::start(&root), Served::start(&root));
    locked(ann.lock(&operator("ann@desk", "a1", IfHeld::Refuse)));
    let transaction = running(&root, "20261122T164512Z-3f9a-1");
    let breaking = operator("bob@desk", "b1", IfHeld::Break);
    let id = Some("20261122T164512Z-3f9a-1".to_owned());
    assert_eq!(locked(bob.lock(&breaking)), (Some("ann@desk".into()), id.clone()));
    assert_eq!(locked(bob.lock(&breaking)), (None, id));
    drop(transaction);
    assert_eq!(locked(bob.lock(&breaking)), (None, None));
    // One that waits for its confirm counts as well, whatever became of its process.
    Txn::new(&root, &TxnId::new("20261122T164512Z-3f9a-1").unwrap())
        .mark("armed")
        .unwrap();
    assert!(locked(bob.lock(&breaking)).1.is_some());
}

#[test]
fn a_purge_needs_the_lock_waits_for_no_transaction_and_leaves_no_fault_behind() {
    let (_dir, root) = host();
    let mut ann = Served::start(&root);
    refused(ann.ask(&Request::Purge), "operator lock");
    locked(ann.lock(&operator("ann@desk", "a1", IfHeld::Refuse)));
    let hold = "/run/systemd/system/nginx.service.d/90-hapair-fault.conf";
    for (path, text) in [
        ("/run/hapair/fault/nginx.service.json", r#"{"active":true}"#),
        (hold, "[Unit]\n"),
    ] {
        fs::create_dir_all(root.path(path).parent().unwrap()).unwrap();
        fs::write(root.path(path), text).unwrap();
    }
    let transaction = running(&root, "20261122T164512Z-3f9a-1");
    refused(
        ann.ask(&Request::Purge),
        "transaction 20261122T164512Z-3f9a-1 runs on this host",
    );
    assert!(root.path(hold).exists() && root.path("/var/lib/hapair").exists());
    drop(transaction);
    assert_eq!(ann.ask(&Request::Purge), Reply::Ack);
    for gone in [
        hold,
        "/run/hapair",
        "/run/hapair.lock",
        "/run/hapair-txn.lock",
        "/var/lib/hapair",
    ] {
        assert!(!root.path(gone).exists(), "{gone}");
    }
    // Nothing more is done with a lock that went with the rest.
    refused(ann.change(), "the operator lock is gone");
}

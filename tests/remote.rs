//! The SSH room against a real sshd, every trap of libssh2 in turn.
#![cfg(feature = "cli")]

mod remote_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hapair::remote::{Ask, Link, RemoteError, RemoteErrorKind, Target, Tuning};
use hapair::state::{Reply, Request};
use remote_support::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn connect(target: &Target, ask: Arc<dyn Ask>, tuning: Tuning) -> Result<Link, RemoteError> {
    block_on(Link::connect_with(target, ask, tuning))
}

macro_rules! sshd {
    () => { sshd!(Settings::default()) };
    ($settings:expr) => {{
        if !have("/usr/sbin/sshd") {
            return;
        }
        Sshd::start($settings)
    }};
}

#[test]
fn delivered_once_then_one_connection_and_one_exec() {
    let sshd = sshd!();
    let tuning = sshd.tuning(&acks());
    let path = tuning.payload.path();
    for old in ["aaaa", "bbbb", "cccc", "dddd"] {
        std::fs::write(sshd.at("executors").join(format!("hapair-agent-{old}")), "old").unwrap();
    }
    std::fs::write(sshd.at("executors/keep-me"), "other").unwrap();
    let mut link = connect(&sshd.target(), nobody(), tuning.clone()).unwrap();
    assert_eq!(link.facts().hostname, "twin");
    assert_eq!(link.host_key(), sshd.fingerprint("ed25519"));
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    assert_eq!(std::fs::read(&path).unwrap(), &tuning.payload.bytes[..]);
    let mut left: Vec<_> = std::fs::read_dir(sshd.at("executors")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(left.contains(&"keep-me".into()));
    let before = (sshd.count("Connection from"), sshd.count("Starting session"));
    assert_eq!(before, (1, 2));
    let mut link = connect(&sshd.target(), nobody(), tuning).unwrap();
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    wait_for("the second session is logged", || sshd.count("Starting session") == 3);
    assert_eq!(sshd.count("Connection from"), 2);
}

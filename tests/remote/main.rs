//! The SSH room against a real sshd, every trap of libssh2 in turn.
#![cfg(feature = "cli")]

#[path = "../left_out/mod.rs"]
mod left_out;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hapair::remote::{Ask, Link, RemoteError, RemoteErrorKind, Target, Tuning};
use hapair::state::{Reply, Request};
use support::*;

/// A server with these settings; where there is no sshd, the test ends here.
macro_rules! sshd {
    () => {
        sshd!(Settings::default())
    };
    ($settings:expr) => {{
        if !have("/usr/sbin/sshd") {
            return;
        }
        Sshd::start($settings)
    }};
}

mod agent;
mod deadlines;
mod delivery;
mod ends;
mod executor;
mod frames;
mod host_keys;
mod login;
mod ssh_config;
mod sudo;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn connect(target: &Target, ask: Arc<dyn Ask>, tuning: Tuning) -> Result<Link, RemoteError> {
    block_on(Link::connect_with(target, ask, tuning))
}

fn fails(target: &Target, ask: Arc<dyn Ask>, tuning: Tuning) -> String {
    let error = connect(target, ask, tuning).expect_err("this must not work");
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "{error:#}");
    assert_eq!(error.host.as_deref(), Some("web1"));
    format!("{error:#}\nhints: {}", error.hints.join("\nhint: "))
}

fn contains(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "`{needle}` is missing in:\n{text}");
    }
}

fn target_of_nobody() -> Target {
    Target {
        host: "web1".into(),
        address: "127.0.0.1".into(),
        port: None,
        user: None,
        identity_file: None,
        password: None,
        escalate: hapair::remote::Escalate::No,
        known_hosts: None,
        proxy_jump: None,
        use_operator_config: false,
        accept_new_host_keys: false,
        pinned_host_key: None,
        connect_timeout: Duration::from_secs(20),
    }
}

/// With an ssh_config of the test's own.
fn configured(sshd: &Sshd, lines: &str) -> (Target, Tuning) {
    let config = format!(
        "Host *\nHashKnownHosts no\nUserKnownHostsFile {}\n{lines}\n",
        sshd.at("known_hosts").display()
    );
    std::fs::write(sshd.at("ssh_config"), config).unwrap();
    let target = Target {
        use_operator_config: true,
        known_hosts: None,
        identity_file: None,
        ..sshd.target()
    };
    (
        target,
        Tuning {
            ssh_config: Some(sshd.at("ssh_config")),
            ..sshd.tuning(&acks())
        },
    )
}

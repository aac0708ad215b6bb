//! What tests and the lab may set differently from real life.

use std::path::PathBuf;
use std::time::Duration;

use super::deliver::Payload;

/// What tests and the lab may set differently from real life.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// The executor to run.
    pub payload: Payload,
    /// Instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// Idle time after which the peer of an open connection must answer a keepalive.
    pub probe_after: Duration,
    /// Silence, in spite of that, after which it is lost. Catches a host whose kernel answers and whose sshd does not; a
    /// host that is gone altogether is noticed by TCP after 6 s.
    pub give_up_after: Duration,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            payload: Payload::default(),
            ssh_config: None,
            probe_after: Duration::from_secs(5),
            give_up_after: Duration::from_secs(30),
        }
    }
}

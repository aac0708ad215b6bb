//! Words for parts of a host that facts and desired state share.

use serde::{Deserialize, Serialize};

/// The configuration of either engine on a host.
pub const KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";

/// Who configures an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkManagerKind {
    /// CentOS 7's `network.service` with `ifcfg-*` files.
    NetworkService,
    /// NetworkManager, with `ifcfg-*` files or keyfiles.
    NetworkManager,
    /// Neither runs.
    #[default]
    Nobody,
}

/// The program that speaks VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// hapair's own daemon.
    Agent,
    /// The distribution's keepalived.
    Keepalived,
}

impl Engine {
    /// The systemd unit that runs this engine.
    pub fn unit(self) -> &'static str {
        match self {
            Engine::Agent => "hapair-agent.service",
            Engine::Keepalived => "keepalived.service",
        }
    }

    /// The one that must be off where this one is on.
    pub fn other(self) -> Engine {
        match self {
            Engine::Agent => Engine::Keepalived,
            Engine::Keepalived => Engine::Agent,
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Engine::Agent => "agent",
            Engine::Keepalived => "keepalived",
        })
    }
}

/// SELinux mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelinuxMode {
    /// Policy enforced.
    Enforcing,
    /// Policy loaded, denials only logged.
    Permissive,
    /// No policy.
    Disabled,
}

impl std::fmt::Display for SelinuxMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SelinuxMode::Enforcing => "enforcing",
            SelinuxMode::Permissive => "permissive",
            SelinuxMode::Disabled => "disabled",
        })
    }
}

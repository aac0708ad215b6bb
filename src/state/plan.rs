//! The difference between a host as observed and as desired.

use serde::{Deserialize, Serialize};

use super::drift::Drift;
use super::preflight::HostPreflight;
use super::resource::Stage;

/// What an apply would do on one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The host's name in the inventory.
    pub host: String,
    /// Hash over everything observed for this plan: `apply` refuses when it moved.
    pub fingerprint: String,
    /// In order of application.
    pub changes: Vec<Change>,
    /// What the operator should know, such as a reboot that is needed.
    pub notes: Vec<String>,
    /// The host needs a reboot for a change to take full effect (SELinux crossing `disabled`).
    pub reboot_needed: bool,
    /// What is no longer as hapair left it, whether an apply changes it or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// What else lives on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<HostPreflight>,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// One resource that is not as desired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The resource's id.
    pub resource: String,
    /// When it is applied.
    pub stage: Stage,
    /// One line, lower case, in the imperative: `edit 3 lines`, `install nginx`, `stop and disable`.
    pub summary: String,
    /// Unified diff, secrets masked, where there is text to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// Applying it can cut the SSH connection.
    #[serde(default)]
    pub cuts_ssh: bool,
    /// With one host changed and the other not, both would own the VIP.
    #[serde(default)]
    pub election_critical: bool,
}

//! What else lives on the host and on its segment. Read-only.
//!
//! [`surroundings`] reads, [`judge`] decides what of that is a finding and is pure, [`segment`] asks and listens, which takes
//! some seconds and is done only for what is not in force yet.

mod in_force;
pub mod judge;
mod remedy;
pub(crate) mod segment;
pub mod surroundings;

use crate::host::observe::tools::Tools;
use crate::host::os::clock;
use crate::host::os::root::Root;
use crate::state::{HostPreflight, HostState};

/// What a host can say before anything is changed, besides its plan.
pub fn preflight(root: &Root, state: &HostState, tools: &Tools) -> HostPreflight {
    let new_instances = in_force::new_instances(root, state, tools);
    let surroundings = surroundings::read(root, state, tools, &new_instances);
    HostPreflight {
        findings: judge::judge(state, &surroundings),
        new_instances,
        at_ms: clock::now_ms(),
    }
}

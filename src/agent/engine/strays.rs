//! What was seen that should not be: other routers with our VIPs, and VIPs that nobody here put on.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::agent::net::netlink::Assigned;
use crate::agent::tell::other_router::OtherRouter;
use crate::vrrp::Time;

/// Other routers that are remembered.
pub(super) const MOST: usize = 16;
/// An address that appears is judged after this: the kernel's word of what we have just done ourselves comes late.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// What was seen of it.
#[derive(Default)]
pub(super) struct Strays {
    pub(super) routers: Vec<OtherRouter>,
    /// When the addresses of the interfaces are looked at.
    pub(super) due: Option<Time>,
    /// VIPs that were named as uninvited.
    pub(super) named: BTreeSet<Assigned>,
}

impl Strays {
    pub(super) fn next_timer(&self) -> Option<Time> {
        self.due
    }
}

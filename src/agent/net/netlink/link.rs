//! What the kernel has and what changes: interfaces and their addresses.

use crate::state::arp::Mac;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Kernel's number.
    pub(crate) index: u32,
    /// `eth0`.
    pub(crate) name: String,
    /// Hardware address, if it is Ethernet-like.
    pub(crate) mac: Option<Mac>,
    /// Administratively up and with a carrier.
    pub(crate) running: bool,
}

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Assigned {
    /// Interface number.
    pub(crate) index: u32,
    /// Address.
    pub(crate) ip: IpAddr,
    /// Prefix length.
    pub(crate) prefix: u8,
}

/// An address to put on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewAddress {
    /// Where and what.
    pub(crate) at: Assigned,
    /// IPv4 broadcast.
    pub(crate) broadcast: Option<IpAddr>,
    /// IPv4 label, at most 15 bytes.
    pub(crate) label: Option<String>,
    /// rtnetlink's scope.
    pub(crate) scope: u8,
    /// IPv6: seconds of being preferred; `None`: for ever.
    pub(crate) preferred: Option<u32>,
    /// `IFA_F_…` of linux/if_addr.h.
    pub(crate) flags: u32,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// An interface is new or different.
    Link(Link),
    /// An interface is gone.
    LinkGone(u32),
    /// An address is there, and can be used.
    Address(Assigned),
    /// An address is gone.
    AddressGone(Assigned),
    /// An address is there and cannot be used: its duplicate address detection is not over, or has failed.
    Unusable(Assigned),
    /// The kernel dropped messages: read everything again.
    Overrun,
}

/// What the kernel has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// By number.
    pub(crate) links: BTreeMap<u32, Link>,
    /// In the kernel's order: primary addresses first.
    pub(crate) addresses: Vec<Assigned>,
}

impl Links {
    /// The interface of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }

    /// Keeps up with a change; an overrun is the caller's.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Link(link) => drop(self.links.insert(link.index, link.clone())),
            Change::LinkGone(index) => {
                self.links.remove(index);
                self.addresses.retain(|a| a.index != *index);
            }
            Change::Address(a) if !self.addresses.contains(a) => self.addresses.push(*a),
            Change::AddressGone(a) | Change::Unusable(a) => self.addresses.retain(|other| other != a),
            Change::Address(_) | Change::Overrun => {}
        }
    }

    /// What the kernel would have told on the way from here to `new`.
    pub(crate) fn changes_to(&self, new: &Links) -> Vec<Change> {
        let gone = self.addresses.iter().filter(|a| !new.addresses.contains(a));
        let links_gone = self.links.keys().filter(|index| !new.links.contains_key(index));
        let links = new.links.values().filter(|l| self.links.get(&l.index) != Some(l));
        let come = new.addresses.iter().filter(|a| !self.addresses.contains(a));
        gone.map(|a| Change::AddressGone(*a))
            .chain(links_gone.map(|index| Change::LinkGone(*index)))
            .chain(links.map(|l| Change::Link(l.clone())))
            .chain(come.map(|a| Change::Address(*a)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, running: bool) -> Link {
        Link {
            index,
            name: format!("eth{index}"),
            mac: None,
            running,
        }
    }

    #[test]
    fn the_difference_leads_from_the_old_to_the_new() {
        let at = |index, last| Assigned {
            index,
            ip: IpAddr::from([10, 0, 0, last]),
            prefix: 24,
        };
        let (mut old, mut new) = (Links::default(), Links::default());
        for change in [
            Change::Link(link(1, true)),
            Change::Link(link(2, true)),
            Change::Link(link(3, true)),
            Change::Address(at(1, 1)),
            Change::Address(at(2, 2)),
            Change::Address(at(3, 3)),
        ] {
            old.apply(&change);
        }
        for change in [
            Change::Link(link(1, true)),
            Change::Link(link(3, false)),
            Change::Link(link(4, true)),
            Change::Address(at(1, 1)),
            Change::Address(at(4, 4)),
        ] {
            new.apply(&change);
        }
        let changes = old.changes_to(&new);
        assert!(changes.contains(&Change::AddressGone(at(2, 2))) && changes.contains(&Change::AddressGone(at(3, 3))));
        assert!(changes.contains(&Change::LinkGone(2)) && changes.contains(&Change::Link(link(3, false))));
        assert_eq!(changes.len(), 6, "nothing of what stayed: {changes:?}");
        changes.iter().for_each(|c| old.apply(c));
        assert_eq!((old.links, old.addresses), (new.links.clone(), new.addresses.clone()));
        assert!(new.changes_to(&new).is_empty());
    }
}

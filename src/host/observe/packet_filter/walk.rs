//! What a packet filter does with one packet, as far as its rules can be understood.
//!
//! Only a certain drop is worth telling: a rule that is not understood and could let the packet in ends the walk.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The packet that is asked about: an advert of the peer's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Advert<'a> {
    /// Where it arrives.
    pub(crate) interface: &'a str,
    /// The peer's address, which sends it.
    pub(crate) from: Ipv4Addr,
    /// Multicast group, or the host's own address.
    pub(crate) to: Ipv4Addr,
}

impl Advert<'_> {
    /// Whether it arrives on an interface of this name: `eth0`, or, with `+` as the wildcard, `eth+` for all that begin so.
    pub(crate) fn arrives_on(&self, pattern: &str, wildcard: char) -> bool {
        match pattern.strip_suffix(wildcard) {
            Some(start) => self.interface.starts_with(start),
            None => pattern == self.interface,
        }
    }
}

/// Whether a rule is about the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matches {
    Yes,
    No,
    Maybe,
}

impl Matches {
    pub(crate) fn of(yes: bool) -> Matches {
        if yes { Matches::Yes } else { Matches::No }
    }

    pub(crate) fn not(self) -> Matches {
        match self {
            Matches::Yes => Matches::No,
            Matches::No => Matches::Yes,
            Matches::Maybe => Matches::Maybe,
        }
    }

    /// Both must match.
    pub(crate) fn and(self, other: Matches) -> Matches {
        match (self, other) {
            (Matches::No, _) | (_, Matches::No) => Matches::No,
            (Matches::Yes, Matches::Yes) => Matches::Yes,
            _ => Matches::Maybe,
        }
    }
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Accept,
    /// Also with an answer to the sender.
    Drop,
    Jump(String),
    Goto(String),
    Return,
    /// Counts, logs, marks.
    Nothing,
    /// Not understood.
    Unknown,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) matches: Matches,
    pub(crate) action: Action,
}

/// The rules of one table, by chain, as they concern one packet.
pub(crate) type Chains = BTreeMap<String, Vec<Rule>>;

/// What becomes of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted,
    Dropped,
    /// No rule of the chain decided.
    Undecided,
    /// The rules are not understood well enough.
    Unsure,
}

/// Chains in chains; the kernel refuses circles.
const DEPTH: usize = 32;

/// What the rules of a chain do with the packet.
pub(crate) fn walk(chains: &Chains, chain: &str) -> Fate {
    step(chains, chain, DEPTH)
}

fn step(chains: &Chains, chain: &str, depth: usize) -> Fate {
    let (Some(rules), Some(depth)) = (chains.get(chain), depth.checked_sub(1)) else {
        return Fate::Unsure;
    };
    for Rule { matches, action } in rules {
        let certain = match matches {
            Matches::No => continue,
            Matches::Yes => true,
            Matches::Maybe => false,
        };
        let fate = match action {
            Action::Nothing => continue,
            Action::Accept => Fate::Accepted,
            Action::Drop => Fate::Dropped,
            Action::Unknown => Fate::Unsure,
            Action::Return if certain => return Fate::Undecided,
            Action::Return => Fate::Unsure,
            Action::Jump(to) => step(chains, to, depth),
            Action::Goto(to) => match step(chains, to, depth) {
                Fate::Undecided if certain => return Fate::Undecided,
                Fate::Undecided => Fate::Unsure,
                decided => decided,
            },
        };
        match (fate, certain) {
            (Fate::Undecided, _) => {}
            (fate, true) => return fate,
            // Whether it is dropped here or by a later rule is the same.
            (Fate::Dropped, false) => {}
            (Fate::Accepted | Fate::Unsure, false) => return Fate::Unsure,
        }
    }
    Fate::Undecided
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::vrrp::packet::GROUP4;

    /// An advert of 192.168.0.202 on enp0s3.
    pub(crate) const ADVERT: Advert<'static> = Advert {
        interface: "enp0s3",
        from: Ipv4Addr::new(192, 168, 0, 202),
        to: GROUP4,
    };

    fn chains(list: &[(&str, &[(Matches, Action)])]) -> Chains {
        let rules = |rules: &[(Matches, Action)]| {
            let rule = |(matches, action): &(Matches, Action)| Rule {
                matches: *matches,
                action: action.clone(),
            };
            rules.iter().map(rule).collect()
        };
        list.iter()
            .map(|(name, all)| ((*name).to_owned(), rules(all)))
            .collect()
    }

    #[test]
    fn only_a_certain_drop_is_a_drop() {
        use Action::{Accept, Drop, Goto, Jump, Nothing, Return, Unknown};
        use Matches::{Maybe, No, Yes};
        let to = |name: &str| Jump(name.to_owned());
        for (rules, fate) in [
            (vec![(No, Accept), (Yes, Nothing), (Yes, Drop)], Fate::Dropped),
            (vec![(Maybe, Drop), (Yes, Drop)], Fate::Dropped),
            (vec![(Maybe, Drop)], Fate::Undecided),
            (vec![(Maybe, Accept), (Yes, Drop)], Fate::Unsure),
            (vec![(Yes, Unknown), (Yes, Drop)], Fate::Unsure),
            (vec![(Yes, Accept), (Yes, Drop)], Fate::Accepted),
            (vec![(Yes, to("lets in")), (Yes, Drop)], Fate::Accepted),
            (vec![(Maybe, to("lets in")), (Yes, Drop)], Fate::Unsure),
            (vec![(Yes, to("returns")), (Yes, Drop)], Fate::Dropped),
            (vec![(Maybe, to("returns")), (Yes, Drop)], Fate::Dropped),
            (vec![(Yes, Goto("returns".to_owned())), (Yes, Drop)], Fate::Undecided),
            (vec![(Yes, to("round")), (Yes, Drop)], Fate::Unsure),
            (vec![(Yes, to("nowhere")), (Yes, Drop)], Fate::Unsure),
        ] {
            let all = chains(&[
                ("INPUT", &rules),
                ("lets in", &[(Yes, Accept)]),
                ("returns", &[(Yes, Return), (Yes, Accept)]),
                ("round", &[(Yes, to("round"))]),
            ]);
            assert_eq!(walk(&all, "INPUT"), fate, "{rules:?}");
        }
    }
}

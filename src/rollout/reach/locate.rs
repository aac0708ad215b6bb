//! Where a host is, and whether it is the host that is meant.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::member::Member;
use super::redial::ATTEMPT;
use crate::inventory::{Host, Side};
use crate::remote::{Link, Target};
use crate::rollout::error::{RolloutError, RolloutErrorKind};
use crate::state::Facts;

/// Who answers at the new address and does not bear the host's name yet may be somebody else, with the host itself still
/// where it was.
pub(super) async fn no_stranger(cx: &Context<'_>, side: Side, at: &Target, facts: &Facts) -> Result<(), RolloutError> {
    let before = &cx.targets[side];
    let Ok(host) = Link::connect(before, Arc::clone(&cx.ask)).await else {
        return Ok(());
    };
    let same = host.facts().machine_id == facts.machine_id;
    host.close().await;
    if same {
        return Ok(());
    }
    let message = format!(
        "different machines answer at {} and at {}: the address is already in use",
        before.address, at.address
    );
    Err(
        RolloutError::on(&at.host, RolloutErrorKind::Unreachable, message).hint(format!(
            "check `network.address` of {} in the inventory, or find out which machine has {}; neither machine was \
             changed",
            at.host, facts.hostname
        )),
    )
}

/// A host with a bootstrap `address` is there until its network address answers. Both are tried at once, so that
/// neither run waits for the other one.
pub(super) async fn answering_address(host: &Host, target: &Target) -> String {
    let stays = target.address.clone();
    let Some(network) = &host.network else { return stays };
    let settled = network.address.addr().to_string();
    if host.address_is_stable || settled == stays || target.proxy_jump.is_some() {
        return stays;
    }
    let port = target.port.unwrap_or(22);
    let answers = |address: String| async move {
        let dial = tokio::net::TcpStream::connect((address.as_str(), port));
        tokio::time::timeout(Duration::from_secs(3), dial)
            .await
            .is_ok_and(|r| r.is_ok())
    };
    let (new, old) = (answers(settled.clone()), answers(stays.clone()));
    tokio::pin!(new, old);
    tokio::select! {
        yes = &mut new => if yes { settled } else { stays },
        yes = &mut old => {
            // The old address answers; the new one gets a moment more before the old one is believed.
            let late = tokio::time::timeout(Duration::from_millis(300), &mut new).await;
            if yes && late != Ok(true) { stays } else { settled }
        }
    }
}

/// A host on its way to another address.
#[derive(Debug)]
pub(crate) struct AddressChange {
    /// Where it will be.
    pub(crate) to: Target,
    pub(crate) machine_id: String,
}

/// Where a host goes when its network changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressPlan {
    /// To what the inventory says.
    Inventory,
    /// To what it was before, which only the host knows.
    Back,
}

impl AddressPlan {
    /// Where to look for the host; `told` is its own word, empty: it has none.
    pub(crate) fn targets(self, member: &Member, told: &str) -> Vec<Target> {
        if self == AddressPlan::Inventory {
            return member.at_each(&[member.settled()]);
        }
        let told = Some(told).filter(|told| member.can_move() && !told.is_empty());
        let mut addresses: Vec<&str> = told.into_iter().collect();
        addresses.extend([&member.target.address, member.first(), member.settled()]);
        member.at_each(&addresses)
    }

    /// Where a host that is about to change its network goes, if it can be told beforehand.
    pub(crate) fn moves(self, member: &Member) -> Option<AddressChange> {
        let mut targets = self.targets(member, "").into_iter();
        let to = targets.find(|t| t.address != member.target.address)?;
        let machine_id = member.link.facts().machine_id.clone();
        Some(AddressChange { to, machine_id })
    }
}

impl Member {
    /// Cloned machines share host keys.
    pub(crate) fn no_other_machine(&self, link: &Link, at: &Target) -> Result<(), RolloutError> {
        if link.facts().machine_id == self.link.facts().machine_id {
            return Ok(());
        }
        let message = format!(
            "{} answers with the host key of this host but another machine-id",
            at.address
        );
        Err(RolloutError::on(self.host(), RolloutErrorKind::Unreachable, message))
    }

    /// Where its network puts it, or where it is.
    pub(crate) fn settled(&self) -> &str {
        self.reconnect.settled.as_deref().unwrap_or(&self.target.address)
    }

    /// Where it was looked for at first.
    pub(crate) fn first(&self) -> &str {
        &self.reconnect.first
    }

    /// Its address follows its network.
    pub(crate) fn can_move(&self) -> bool {
        !self.reconnect.stable
    }

    /// This very host at each of these addresses, at each once.
    pub(crate) fn at_each(&self, addresses: &[&str]) -> Vec<Target> {
        let mut known = BTreeSet::new();
        let addresses = addresses.iter().filter(|address| known.insert(**address));
        let at = |address: &&str| Target {
            address: (*address).to_owned(),
            pinned_host_key: Some(self.link.host_key().to_owned()),
            connect_timeout: ATTEMPT,
            ..self.target.clone()
        };
        addresses.map(at).collect()
    }
}

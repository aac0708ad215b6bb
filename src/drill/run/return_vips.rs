//! After the repair: a host that is well again and preferred need not wait for three adverts.

use std::time::Instant;

use super::{POLL, Work};
use crate::drill::error::DrillError;
use crate::drill::event::DrillEvent;
use crate::drill::link::HostLink;
use crate::drill::plan::InstancePlan;
use crate::inventory::Side;
use crate::remote::RemoteErrorKind;
use crate::state::frame::VrrpOrder;
use crate::state::{Engine, HostStatus, InstanceState, Request};

/// Seconds for which a host that took over on command keeps its raised priority: the move itself needs no more.
const MOMENT: u64 = 10;

impl<L: HostLink> Work<'_, L> {
    /// Asks the repaired host to take over what it is preferred for, once its priority is the better one again.
    /// Without an agent, or if the agent refuses, the host owns the VIP after three adverts.
    pub(super) async fn return_vips(
        &mut self,
        repaired: Side,
        instances: &[&InstancePlan],
        deadline: Instant,
    ) -> Result<(), DrillError> {
        let name = self.plan.hosts[repaired].as_str();
        let mine = instances
            .iter()
            .filter(|i| i.preempt && i.at_once && i.preferred == name);
        let mut missing: Vec<&str> = mine.map(|i| i.name.as_str()).collect();
        while !missing.is_empty() && Instant::now() < deadline {
            let status = self.status(repaired).await?;
            let other = self.status(repaired.other()).await?;
            if status.engine != Some(Engine::Agent) {
                return Ok(());
            }
            // A check may have to succeed some times before it counts.
            missing.retain(|name| !status.owns(name));
            let ready = missing.iter().filter(|name| may_preempt(&status, &other, name));
            let asked: Vec<String> = ready.map(|name| (*name).to_owned()).collect();
            if asked.is_empty() {
                self.session.pause(POLL).await?;
                continue;
            }
            let order = VrrpOrder::TakeOver {
                instances: asked.clone(),
                seconds: Some(MOMENT),
            };
            let request = Request::Vrrp { order };
            match self.session.order(repaired, &request, self.plan.request_timeout).await {
                Ok(()) => missing.retain(|name| !asked.iter().any(|asked| asked == name)),
                // A check that has not answered yet, say: it will, and by then the host may have taken over by itself.
                Err(refused) if refused.kind == RemoteErrorKind::Refused => {
                    let note = format!("{refused:#}: it owns the VIP again after three adverts instead");
                    if !self.notes.contains(&note) {
                        self.session.tell(DrillEvent::Note(note.clone()));
                        self.notes.push(note);
                    }
                    self.session.pause(POLL).await?;
                }
                Err(lost) => return Err(lost.into()),
            }
        }
        Ok(())
    }
}

/// By both hosts' word, the VIP of this instance would move here sooner or later.
fn may_preempt(here: &HostStatus, there: &HostStatus, instance: &str) -> bool {
    let on = |status: &HostStatus| status.instances.iter().find(|i| i.name == instance).cloned();
    let (Some(mine), Some(theirs)) = (on(here), on(there)) else {
        return false;
    };
    mine.state == InstanceState::Backup && !mine.held && mine.priority > theirs.priority
}

//! What watches the VIPs while a host is broken and repaired: HTTP or TCP, ARP, and the hosts' own word.

use std::time::Instant;

use tokio::sync::watch;

use super::Work;
use crate::drill::error::{DrillError, DrillErrorKind, refuse};
use crate::drill::link::HostLink;
use crate::drill::owners::OwnerLog;
use crate::drill::verdict::VipEvidence;
use crate::inventory::Side;
use crate::probe::arp::{self, ArpWatch};
use crate::probe::{Live, Prober};

/// What watches, besides the hosts themselves.
pub(super) struct Witnesses {
    prober: Prober,
    /// By VIP.
    watches: Vec<Option<ArpWatch>>,
    /// Where ARP was asked, or why not.
    pub(super) arp: String,
}

impl Witnesses {
    /// What a client sees now, by VIP.
    pub(super) fn live(&self) -> watch::Receiver<Vec<Live>> {
        self.prober.live()
    }
}

impl<L: HostLink> Work<'_, L> {
    pub(super) fn start_witnesses(&mut self) -> Result<Witnesses, DrillError> {
        let targets = self.endpoints.iter().map(|(_, e)| e.target.clone()).collect();
        let prober = Prober::start(targets, self.plan.probe, self.session.epoch)
            .map_err(|e| DrillError::of(DrillErrorKind::Local, "cannot start the prober").because(e))?;
        let (watches, arp) = self.start_arp();
        Ok(Witnesses { prober, watches, arp })
    }

    /// Waits until every VIP answers steadily.
    pub(super) async fn until_steady(&mut self, live: &mut watch::Receiver<Vec<Live>>) -> Result<(), DrillError> {
        let settled = self.plan.settled_streak;
        let steady = |view: &[Live], _: &OwnerLog| view.iter().all(|l| l.streak >= settled);
        if self
            .session
            .wait(live, Instant::now() + self.plan.patience, steady)
            .await?
        {
            return Ok(());
        }
        Err(refuse(format!(
            "the VIP does not answer {settled} times in a row, although nothing is broken yet"
        ))
        .hint("check `hapair status`; packet loss between this machine and the VIP looks the same"))
    }

    /// Ends them, and says what they saw of each VIP until `end_us`. `before`: who owned it at first.
    pub(super) async fn heard(
        &mut self,
        witnesses: Witnesses,
        owned: &[usize],
        before: &[Side],
        end_us: u64,
    ) -> Vec<VipEvidence> {
        let Witnesses { prober, watches, .. } = witnesses;
        // Off the runtime's thread: stopping waits for the probes in flight.
        let timelines = tokio::task::spawn_blocking(move || prober.stop());
        let logs: Vec<_> = watches.into_iter().map(|w| w.map(ArpWatch::stop)).collect();
        let timelines = timelines.await.unwrap_or_default();
        let vips = self.endpoints.iter().zip(timelines).zip(logs).enumerate();
        let vips = vips.map(|(index, (((instance, endpoint), timeline), arp))| VipEvidence {
            vip: endpoint.vip.to_string(),
            instance: self.plan.instances[*instance].name.clone(),
            probed: endpoint.probed(),
            had_to_move: owned.contains(&index),
            owner_before: before[index],
            timeline,
            word: self.session.owners.spans(index, end_us),
            arp,
        });
        vips.collect()
    }

    /// ARP probing of every VIP where it can be had, and in words where, or why not.
    fn start_arp(&mut self) -> (Vec<Option<ArpWatch>>, String) {
        let mut said = Vec::new();
        let mut watches = Vec::new();
        for (_, endpoint) in &self.endpoints {
            let started = arp::interface_for(endpoint.vip).and_then(|interface| {
                let watch = ArpWatch::start(endpoint.vip, &interface, self.plan.arp_interval, self.session.epoch)?;
                Ok((watch, format!("asked on {}", interface.name)))
            });
            let (watch, text) = match started {
                Ok((watch, text)) => (Some(watch), text),
                Err(error) => (None, error.to_string()),
            };
            watches.push(watch);
            if !said.contains(&text) {
                said.push(text);
            }
        }
        (watches, said.join("; "))
    }
}

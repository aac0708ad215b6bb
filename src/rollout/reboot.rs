//! Restarting the hosts that need it: one at a time, standby first, the VIP handed over before.

use std::time::{Duration, Instant};

use super::error::{RolloutError, RolloutErrorKind};
use super::health::gate::Until;
use super::health::roles::is_living_pair;
use super::health::verify::verify;
use super::interrupt::Interrupt;
use super::order::{Phase, changes_in, standby_first};
use super::reach::after_boot::{Away, dial_until_back};
use super::reach::context::Context;
use super::reach::locate::AddressPlan;
use super::reach::member::Member;
use super::reach::pair::Pair;
use super::run::{ApplyOptions, ApplyReport, Run, waiting_for_reboot};
use super::takeover::{self, Moved};
use crate::inventory::Side;
use crate::state::frame::VrrpOrder;
use crate::state::{Facts, HostStatus, Request};

/// What a host may take beyond its health gate until it is told to start VRRP; after that it starts VRRP by itself.
const SILENT: Duration = Duration::from_secs(60);

/// Restarts the hosts whose plans say so, each at most once, and proves that the pair works after it. `patience`: how
/// long each may take to be back. `report` is filled in also where it fails.
///
/// # Errors
/// The first failure ends it: the peer cannot take the VIP over, a host does not come back, or is not healthy then. The
/// peer has the VIP in the last two cases.
pub async fn reboot(
    cx: &Context<'_>,
    pair: &mut Pair,
    options: &ApplyOptions,
    patience: Duration,
    interrupt: Interrupt,
    report: &mut ApplyReport,
) -> Result<(), RolloutError> {
    let mut run = Run::new(cx, options, interrupt, AddressPlan::Inventory);
    // To a rollback it is one run with the apply before.
    if let Some(stamp) = report.stamp.clone() {
        (run.stamp, run.parts) = (stamp, report.parts);
    }
    pair.lock(cx.observer, &options.operator).await?;
    let result = run.reboots(pair, patience).await;
    pair.unlock().await;
    report.reboot_needed.retain(|host| !run.report.rebooted.contains(host));
    let done = run.report;
    for (all, more) in report.changed.iter_mut().zip(done.changed) {
        *all += more;
    }
    report.rebooted = done.rebooted;
    report.reboot_needed.extend(done.reboot_needed);
    report.stamp = report.changed.iter().any(|n| *n > 0).then_some(run.stamp);
    report.parts = run.parts;
    result?;
    if options.limit.is_none() {
        report.verified = verify(cx, pair, options.gate_timeout, run.interrupt).await?;
    }
    Ok(())
}

/// A host that is away for its reboot, and its peer that stands in for it.
#[derive(Clone, Copy)]
struct Rebooting {
    host: Side,
    /// How the host's VIPs moved to the peer; `None`: it had none.
    given: Option<Moved>,
    /// How long the host may take to be back.
    patience: Duration,
}

impl Run<'_> {
    async fn reboots(&mut self, pair: &mut Pair, patience: Duration) -> Result<(), RolloutError> {
        let statuses = pair.statuses().await?;
        for host in standby_first(self.cx.inventory, &statuses) {
            if waiting_for_reboot(pair, self.options).contains(&pair[host].host().to_owned()) {
                self.reboot_one(pair, host, patience).await?;
            }
        }
        Ok(())
    }

    async fn reboot_one(&mut self, pair: &mut Pair, host: Side, patience: Duration) -> Result<(), RolloutError> {
        let name = pair[host].host().to_owned();
        let statuses = pair.statuses().await?;
        let given = self.give_away(pair, host, &statuses, patience).await?;
        let rebooting = Rebooting { host, given, patience };
        let silent = is_living_pair(&statuses).then(|| (self.options.gate_timeout + SILENT).as_secs());
        let request = Request::Reboot {
            operator: self.operator(),
            silent,
        };
        let before = pair[host].link.facts().clone();
        match pair[host].order(request).await {
            // A lost connection says nothing: the host may be on its way.
            Err(error) if error.kind != RolloutErrorKind::Unreachable => {
                return Err(self.as_before(pair, rebooting, error).await);
            }
            _ => {}
        }
        self.cx.observer.wait(&name, "the host to reboot");
        let began = Instant::now();
        match self.until_back(&mut pair[host], &before, patience).await {
            Ok(()) => {}
            // It never went: what was ordered for its next boot must not wait for one.
            Err(Away::NeverLeft(error)) => return Err(self.as_before(pair, rebooting, error).await),
            Err(Away::Gone(error)) => return Err(self.end_stand_in(pair, rebooting, error).await),
        }
        self.report.rebooted.push(name.clone());
        self.cx
            .observer
            .fact(&name, format!("rebooted in {} s", began.elapsed().as_secs()));
        let Err(mut error) = self.back_in_service(pair, host, given).await else {
            return Ok(());
        };
        if let Some(seconds) = silent {
            error = error.hint(format!(
                "VRRP on {name} starts automatically {seconds} s after the boot; run `hapair handover --resume` to \
                 start it now"
            ));
        }
        Err(self.end_stand_in(pair, rebooting, error).await)
    }

    /// How long the peer may have to stand in for a host that reboots.
    fn boot_absence(&self, patience: Duration) -> Duration {
        patience + SILENT + self.absence()
    }

    /// Ends the peer's raised priority. The peer keeps what it owns; the host that is away cannot preempt meanwhile.
    async fn end_stand_in(&self, pair: &mut Pair, rebooting: Rebooting, mut error: RolloutError) -> RolloutError {
        if rebooting.given == Some(Moved::AtOnce) {
            let keep = self.boot_absence(rebooting.patience);
            error
                .hints
                .extend(takeover::end_raise(pair, rebooting.host.other(), keep).await);
        }
        error
    }

    /// Hands over every VIP that the host has; `None`: it has none.
    async fn give_away(
        &self,
        pair: &mut Pair,
        host: Side,
        statuses: &[HostStatus; 2],
        hold: Duration,
    ) -> Result<Option<Moved>, RolloutError> {
        let instances = &statuses[host].instances;
        if instances.iter().any(|i| i.held) {
            self.cx.observer.warn(
                &statuses[host].host,
                "it is held by a handover; its reboot will end that",
            );
        }
        let mine: Vec<&str> = instances
            .iter()
            .filter(|i| i.owns_vip)
            .map(|i| i.name.as_str())
            .collect();
        if mine.is_empty() {
            return Ok(None);
        }
        let (giving, taking) = (&statuses[host].host, &statuses[host.other()]);
        if let Some(lacking) = self.gate().unfit(taking) {
            let message = format!("not rebooted: it owns the VIP and its peer cannot take it over: {lacking}");
            return Err(RolloutError::on(giving, RolloutErrorKind::Failed, message)
                .hint(format!("repair {} first: `hapair status`", taking.host)));
        }
        self.cx.observer.wait(giving, "the peer to take over the VIP");
        let order = VrrpOrder::HandOver {
            hold: Some(hold.as_secs()),
        };
        let mut how = Moved::NotYet;
        let moved = async {
            how = takeover::take_over(self.cx, pair, host.other(), Some(self.boot_absence(hold))).await?;
            if how == Moved::NotYet {
                pair[host].order(Request::Vrrp { order }).await?;
            }
            let now = self.gate().one_owner(pair, Until::Owned).await?;
            match mine.iter().find(|name| !now[host.other()].owns(name)) {
                None => Ok(()),
                Some(name) => {
                    let message = format!("not rebooted: the VIP of {name} did not move to {}", taking.host);
                    Err(RolloutError::on(giving, RolloutErrorKind::Failed, message)
                        .hint("adverts may not arrive there: look for a firewall that drops protocol 112"))
                }
            }
        }
        .await;
        match moved {
            Ok(()) => Ok(Some(how)),
            Err(error) => {
                let rebooting = Rebooting {
                    host,
                    given: Some(how),
                    patience: hold,
                };
                Err(self.as_before(pair, rebooting, error).await)
            }
        }
    }

    /// After a failure that left the host as it was.
    async fn as_before(&self, pair: &mut Pair, rebooting: Rebooting, error: RolloutError) -> RolloutError {
        let name = pair[rebooting.host].host().to_owned();
        let error = match resume(&mut pair[rebooting.host]).await {
            Ok(()) => error.hint(format!("{name} is in election as before")),
            Err(why) => error
                .hint(format!("{name} could not be returned to election: {}", why.bare()))
                .hint("return it to election with `hapair handover --resume`"),
        };
        self.end_stand_in(pair, rebooting, error).await
    }

    /// Waits until the host answers from another boot, and continues over that connection.
    async fn until_back(&self, member: &mut Member, before: &Facts, patience: Duration) -> Result<(), Away> {
        let host = member.host().to_owned();
        let times = self.interrupt.count();
        tokio::select! {
            back = dial_until_back(self.cx, member, &self.options.operator, before, patience) => back,
            () = self.interrupt.more_than(times) => {
                let message = "interrupted while the host reboots";
                Err(Away::Gone(RolloutError::on(&host, RolloutErrorKind::Failed, message)
                    .hint("the other host continues alone; this one returns to election automatically")
                    .hint("run `hapair apply --reboot` again when the host answers")))
            }
        }
    }

    /// From the first answer after the boot to a host that does its part.
    async fn back_in_service(&mut self, pair: &mut Pair, host: Side, given: Option<Moved>) -> Result<(), RolloutError> {
        // The boot ended it.
        let operator = &self.options.operator;
        pair[host].lock_again(self.cx.observer, operator).await;
        // Before the plan, which it would outdate.
        self.gate().nginx(&mut pair[host]).await?;
        pair[host].replan().await?;
        // What only the new kernel has, such as SELinux's booleans.
        let foundation = Phase::Foundation.stages();
        if changes_in(&pair[host].plan, foundation) > 0 {
            self.transact(pair, host, foundation).await?;
        }
        if self.cx.inventory.vrrp.is_some() {
            resume(&mut pair[host]).await?;
            self.gate().host(&mut pair[host]).await?;
            // The host that gave the VIP away owns it again, if it preempts.
            if let Some(moved) = given {
                self.return_vips(pair, host, moved, Ok(())).await?;
            }
            let until = if given.is_some() { Until::Settled } else { Until::Owned };
            let statuses = self.gate().one_owner(pair, until).await?;
            self.tell_owners(&statuses);
        }
        let member = &mut pair[host];
        member.replan().await?;
        if member.plan.reboot_needed {
            self.report.reboot_needed.push(member.host().to_owned());
            self.cx
                .observer
                .warn(member.host(), "rebooted, but still reports that a reboot is needed");
        }
        for note in &member.plan.notes {
            self.cx.observer.warn(member.host(), note.clone());
        }
        Ok(())
    }
}

async fn resume(member: &mut Member) -> Result<(), RolloutError> {
    let order = VrrpOrder::Resume;
    member.order(Request::Vrrp { order }).await
}

//! Before anything is broken: the pair must be one that can be drilled, and the VIP must answer from here.

use std::time::Instant;

use super::{POLL, Work};
use crate::drill::error::{DrillError, DrillErrorKind, refuse};
use crate::drill::event::{DrillEvent, Phase};
use crate::drill::link::HostLink;
use crate::inventory::Side;
use crate::probe::{Outcome, ProbeTarget, http_once};
use crate::state::{InstanceState, Reply, Request};

impl<L: HostLink> Work<'_, L> {
    /// Both engines and both nginx run, every VIP has one owner and answers.
    pub(super) async fn prepare(&mut self) -> Result<(), DrillError> {
        self.session.tell(DrillEvent::Phase(Phase::Preconditions));
        let patience = Instant::now() + self.plan.patience;
        // A pair that has just been applied, or repaired by the scenario before, may need a moment.
        while let Err(error) = self.both_run().await {
            if error.kind != DrillErrorKind::Precondition || Instant::now() >= patience {
                return Err(error);
            }
            self.session.pause(POLL).await?;
        }
        self.session.watch(self.plan.request_timeout).await?;
        while let Err(error) = self.one_owner() {
            if Instant::now() >= patience {
                return Err(error);
            }
            self.session.pause(POLL).await?;
        }
        for vip in 0..self.endpoints.len() {
            self.answers(vip).await?;
        }
        Ok(())
    }

    async fn both_run(&mut self) -> Result<(), DrillError> {
        for host in Side::BOTH {
            let status = self.status(host).await?;
            let name = &self.plan.hosts[host];
            if status.engine.is_none() {
                return Err(
                    refuse(format!("{name}: no VRRP engine runs, so nothing would take over"))
                        .hint("see `hapair status`, then bring the pair up with `hapair apply`"),
                );
            }
            if status.nginx != "active" {
                return Err(refuse(format!(
                    "{name}: nginx is {}, so the VIP would move to a host that cannot serve",
                    status.nginx
                ))
                .hint("see `hapair status`, then bring the pair up with `hapair apply`"));
            }
            let unfit = |state| matches!(state, InstanceState::Fault | InstanceState::Stopped);
            if let Some(instance) = status.instances.iter().find(|i| unfit(i.state)) {
                return Err(
                    refuse(format!("{name}: instance {} is {}", instance.name, instance.state))
                        .hint("a check fails or the interface is down: read the engine's log on the host"),
                );
            }
        }
        Ok(())
    }

    fn one_owner(&self) -> Result<(), DrillError> {
        for (vip, (_, endpoint)) in self.endpoints.iter().enumerate() {
            let address = endpoint.vip;
            match self.session.owners.owners(vip).len() {
                1 => {}
                0 => return Err(refuse(format!("no host owns {address}")).hint("see `hapair status`")),
                _ => {
                    return Err(refuse(format!(
                        "both hosts own {address}: their adverts do not reach each other"
                    ))
                    .hint("look for a firewall that drops VRRP (IP protocol 112), or filtered multicast"));
                }
            }
        }
        Ok(())
    }

    /// The VIP answers from here, and from its owner; settles how it is probed.
    async fn answers(&mut self, vip: usize) -> Result<(), DrillError> {
        let patience = Instant::now() + self.plan.patience;
        let address = self.endpoints[vip].1.target.addr();
        loop {
            let error = match self.try_answer(vip).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() >= patience {
                let seen_by_pair = self.standby_sees(vip).await?;
                let hint = match seen_by_pair {
                    true => "the standby gets an answer from it: run hapair on a machine that can reach the VIP",
                    false => "the standby gets no answer from it either: check `hapair status`",
                };
                return Err(refuse(format!("the VIP does not answer at {address}: {error}")).hint(hint));
            }
            self.session.pause(POLL).await?;
        }
    }

    async fn try_answer(&mut self, vip: usize) -> Result<(), String> {
        let limit = self.plan.probe.timeout;
        let target = &mut self.endpoints[vip].1.target;
        let ProbeTarget::Http {
            addr,
            host,
            path,
            server_errors_fail,
        } = target
        else {
            return match target.ask(limit).await.1 {
                Outcome::Ok { .. } => Ok(()),
                Outcome::Failed(kind) => Err(kind.text().to_owned()),
            };
        };
        let mut answer = http_once(*addr, host, path, limit).await;
        if path != "/" && !answer.as_ref().is_ok_and(|a| a.status < 400 && a.node.is_some()) {
            // No health location of ours: an operator's own nginx configuration.
            if let Ok(plain) = http_once(*addr, host, "/", limit).await {
                *path = "/".into();
                answer = Ok(plain);
            }
        }
        let answer = answer.map_err(|e| e.to_string())?;
        let address = addr.ip();
        let mut notes = Vec::new();
        *server_errors_fail = answer.status < 500;
        if answer.status >= 500 {
            notes.push(format!(
                "{address} answered {} before anything was broken; the drill counts such answers as service",
                answer.status
            ));
        }
        let owner = self.session.owners.owners(vip).first().map(|o| &self.plan.hosts[*o]);
        match (&answer.node, owner) {
            (Some(node), Some(owner)) if self.plan.hosts.contains(node) && node != owner => {
                return Err(format!("{node} answers, but {owner} reports that it owns the address"));
            }
            (Some(node), _) if self.plan.hosts.contains(node) => {}
            _ => notes.push(format!(
                "answers of {address} do not name their host: the drill relies on the hosts' own reports of who answers"
            )),
        }
        for note in notes {
            if !self.notes.contains(&note) {
                self.session.tell(DrillEvent::Note(note.clone()));
                self.notes.push(note);
            }
        }
        Ok(())
    }

    /// Whether the standby gets an HTTP answer from the VIP.
    async fn standby_sees(&mut self, vip: usize) -> Result<bool, DrillError> {
        let ProbeTarget::Http { addr, path, .. } = &self.endpoints[vip].1.target else {
            return Ok(false);
        };
        let request = Request::Fetch {
            url: format!("http://{addr}{path}"),
            timeout_ms: 3000,
        };
        let owner = self.session.owners.owners(vip).first().copied();
        let standby = owner.map_or(Side::Second, Side::other);
        match self.session.ask(standby, &request, self.plan.request_timeout).await? {
            Reply::Fetched { status, .. } => Ok(status > 0),
            _ => Ok(false),
        }
    }
}

//! Health gates: facts that must hold before the other host is touched.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::roles::{self, Owners};
use crate::inventory::{Instance, Inventory};
use crate::rollout::error::{RolloutError, RolloutErrorKind, unexpected};
use crate::rollout::interrupt::Interrupt;
use crate::rollout::progress::Observer;
use crate::rollout::reach::member::Member;
use crate::rollout::reach::pair::Pair;
use crate::state::{HEALTH_PATH, HostStatus, Reply, Request};

const POLL: Duration = Duration::from_millis(100);

/// What a host must show after its services were converged.
pub(crate) struct Gate<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) timeout: Duration,
    /// The operator asks to stop.
    pub(crate) interrupt: Interrupt,
}

/// Both hosts own a VIP, and do not hear each other; in words.
pub(crate) struct Split(pub(crate) String);

/// The usual reason for two owners, as a hint.
pub(crate) const NO_ADVERTS: &str = "both hosts own the VIP because adverts do not arrive; look for a firewall that drops \
                                     protocol 112, or a switch that drops multicast";

/// What of a host a gate looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nginx,
    All,
    /// VRRP as it is configured now.
    AsBefore,
}

/// How far an election must have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// One of the hosts is the owner.
    Owned,
    /// The same, and the preferred host is wherever it may preempt.
    Settled,
}

impl Gate<'_> {
    /// nginx answers locally and every instance is in election.
    pub(crate) async fn host(&self, member: &mut Member) -> Result<(), RolloutError> {
        self.until(member, Part::All).await
    }

    /// nginx answers locally; VRRP may be stopped for the time being.
    pub(crate) async fn nginx(&self, member: &mut Member) -> Result<(), RolloutError> {
        self.until(member, Part::Nginx).await
    }

    /// Every instance of the configuration in force is in election again: for a host whose services were not touched.
    pub(crate) async fn as_before(&self, member: &mut Member) -> Result<(), RolloutError> {
        self.until(member, Part::AsBefore).await
    }

    async fn until(&self, member: &mut Member, part: Part) -> Result<(), RolloutError> {
        let began = Instant::now();
        let name = member.host().to_owned();
        self.observer.wait(
            &name,
            match part {
                Part::Nginx => "nginx to answer",
                Part::All => "nginx to answer and VRRP to join the election",
                Part::AsBefore => "VRRP to join the election",
            },
        );
        loop {
            let lacking = self.lacking(member, part).await?;
            let Some(lacking) = lacking else {
                self.observer.fact(&name, "healthy");
                return Ok(());
            };
            self.stop_if_interrupted()?;
            if began.elapsed() > self.timeout {
                let message = format!("health gate: after {} s {lacking}", self.timeout.as_secs());
                return Err(RolloutError::on(&name, RolloutErrorKind::Failed, message)
                    .hint("the other host has not been touched by this step")
                    .hint(format!(
                        "look at `journalctl -u nginx{}` on {name}, then run `hapair apply` again",
                        self.engine_unit().map(|unit| format!(" -u {unit}")).unwrap_or_default()
                    )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The first thing that is not as it must be.
    async fn lacking(&self, member: &mut Member, part: Part) -> Result<Option<String>, RolloutError> {
        if let Some(url) = self.local_health_url().filter(|_| part != Part::AsBefore) {
            let request = Request::Fetch {
                url: url.clone(),
                timeout_ms: 2000,
            };
            match member.ask(&request).await? {
                Reply::Fetched { status: 200, .. } => {}
                Reply::Fetched { status: 0, error, .. } => return Ok(Some(format!("{url} does not answer: {error}"))),
                Reply::Fetched { status, .. } => return Ok(Some(format!("{url} answers {status}"))),
                other => return Err(unexpected(member.host(), &other)),
            }
        }
        let status = member.status().await?;
        Ok(match part {
            Part::Nginx => self.nginx_down(&status),
            Part::All => self.unfit(&status),
            Part::AsBefore => roles::unfit(&status),
        })
    }

    fn nginx_down(&self, status: &HostStatus) -> Option<String> {
        let down = self.inventory.nginx.is_some() && status.nginx != "active";
        down.then(|| format!("nginx is {}", status.nginx))
    }

    /// Why a host cannot own a VIP now, by its own word.
    pub(crate) fn unfit(&self, status: &HostStatus) -> Option<String> {
        let down = self.nginx_down(status);
        let mut instances = status.instances.iter();
        down.or_else(|| instances.find_map(|i| roles::state_problem(&i.name, i.state)))
    }

    /// Why a host cannot own now what another one does, by what is configured on both now.
    pub(crate) fn unfit_beside(&self, status: &HostStatus, owner: &HostStatus) -> Option<String> {
        let nginx_down = self.nginx_down(status).filter(|_| owner.nginx == "active");
        nginx_down.or_else(|| roles::unfit(status))
    }

    fn stop_if_interrupted(&self) -> Result<(), RolloutError> {
        if self.interrupt.count() == 0 {
            return Ok(());
        }
        Err(RolloutError::of(
            RolloutErrorKind::Failed,
            "interrupted while waiting for the pair to be healthy",
        )
        .hint("completed changes remain; run `hapair apply` again to finish"))
    }

    fn engine_unit(&self) -> Option<&'static str> {
        self.inventory.vrrp.as_ref().map(|v| v.engine.unit())
    }

    fn local_health_url(&self) -> Option<String> {
        let servers = &self.inventory.nginx.as_ref()?.servers;
        let asked = servers.iter().filter(|s| !s.tls).find_map(|s| match s.listen.address {
            None => Some(SocketAddr::from(([127, 0, 0, 1], s.listen.port))),
            Some(address) if address.is_loopback() => Some(SocketAddr::new(address, s.listen.port)),
            Some(_) => None,
        })?;
        Some(format!("http://{asked}{HEALTH_PATH}"))
    }

    /// Every instance has exactly one owner, and keeps it for a full look at both hosts.
    pub(crate) async fn one_owner(&self, pair: &mut Pair, until: Until) -> Result<[HostStatus; 2], RolloutError> {
        self.owned(pair, &|statuses| self.ownership_problem(statuses, until))
            .await
    }

    /// The same after the engine of one host started, or got a new configuration. Two owners are not waited for: they are a
    /// failure once each should have heard the other.
    pub(crate) async fn one_owner_or_split(
        &self,
        pair: &mut Pair,
        until: Until,
    ) -> Result<Result<[HostStatus; 2], Split>, RolloutError> {
        let problem = |statuses: &[HostStatus; 2]| self.ownership_problem(statuses, until);
        self.owned_or_split(pair, &problem, self.heard_each_other()).await
    }

    /// Three adverts and a skew time of the slowest instance (together at most four adverts), and a second for a busy machine.
    fn heard_each_other(&self) -> Duration {
        let instances = self.inventory.vrrp.iter().flat_map(|v| &v.instances);
        let slowest = instances.map(|i| i.advert_int).fold(0.0, f64::max);
        Duration::from_secs_f64(slowest * 4.0 + 1.0).min(self.timeout)
    }

    /// The same by what runs on the hosts now, which need not be what the inventory says.
    pub(crate) async fn one_owner_now(&self, pair: &mut Pair, owners: Owners) -> Result<[HostStatus; 2], RolloutError> {
        self.owned(pair, &|statuses| roles::ownership_problem(statuses, owners))
            .await
    }

    async fn owned(
        &self,
        pair: &mut Pair,
        problem: &dyn Fn(&[HostStatus; 2]) -> Option<String>,
    ) -> Result<[HostStatus; 2], RolloutError> {
        // Two owners are waited for as long as anything else.
        match self.owned_or_split(pair, problem, self.timeout).await? {
            Ok(statuses) => Ok(statuses),
            Err(Split(lacking)) => Err(self.too_late(&lacking).hint(NO_ADVERTS)),
        }
    }

    /// Waits until there is no problem; where there are two owners, at most `patience` from when they are seen.
    async fn owned_or_split(
        &self,
        pair: &mut Pair,
        problem: &dyn Fn(&[HostStatus; 2]) -> Option<String>,
        patience: Duration,
    ) -> Result<Result<[HostStatus; 2], Split>, RolloutError> {
        let began = Instant::now();
        let mut split_since = None;
        loop {
            let statuses = pair.statuses().await?;
            let Some(lacking) = problem(&statuses) else {
                return Ok(Ok(statuses));
            };
            self.stop_if_interrupted()?;
            if !roles::is_split(&statuses) {
                split_since = None;
            } else if split_since.get_or_insert_with(Instant::now).elapsed() > patience {
                return Ok(Err(Split(lacking)));
            }
            if began.elapsed() > self.timeout {
                let unit = self.engine_unit().unwrap_or("keepalived");
                let hint = match roles::is_split(&statuses) {
                    true => NO_ADVERTS.to_owned(),
                    false => format!("look at `journalctl -u {unit}` on both hosts"),
                };
                return Err(self.too_late(&lacking).hint(hint));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn too_late(&self, lacking: &str) -> RolloutError {
        let message = format!("after {} s {lacking}", self.timeout.as_secs());
        RolloutError::of(RolloutErrorKind::Failed, message)
    }

    fn ownership_problem(&self, statuses: &[HostStatus; 2], until: Until) -> Option<String> {
        let vrrp = self.inventory.vrrp.as_ref()?;
        // A host that holds back, after a crash or on command, does not take the VIP however long we wait; nor does one whose peer
        // took the VIP over on command.
        let held = |instance: &Instance| {
            statuses.iter().any(|status| {
                let mut named = status.instances.iter().filter(|i| i.name == instance.name);
                let preferred = status.host == instance.preferred();
                named.any(|i| if preferred { i.held } else { i.raised.is_some() })
            })
        };
        let preempts = |instance: &Instance| !instance.nopreempt && instance.preempt_delay.is_none_or(|s| s == 0);
        vrrp.instances.iter().find_map(|instance| {
            let owners: Vec<&str> = statuses
                .iter()
                .filter(|s| s.owns(&instance.name))
                .map(|s| s.host.as_str())
                .collect();
            match owners[..] {
                [] => Some(format!("no host owns the VIP of {}", instance.name)),
                [owner]
                    if until == Until::Settled
                        && preempts(instance)
                        && owner != instance.preferred()
                        && !held(instance) =>
                {
                    Some(format!(
                        "{owner} still owns the VIP of {}, not {}",
                        instance.name,
                        instance.preferred()
                    ))
                }
                [_] => None,
                _ => Some(format!("both hosts own the VIP of {}", instance.name)),
            }
        })
    }
}

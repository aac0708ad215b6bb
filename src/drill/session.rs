//! Both conversations at once: asks one host while the other's reports keep coming in.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::event::DrillEvent;
use super::link::HostLink;
use super::owners::OwnerLog;
use crate::inventory::Side;
use crate::probe::Live;
use crate::remote::{RemoteError, RemoteErrorKind, accepted};
use crate::state::{Reply, Request};

/// How often waiting tells how far the prober is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Two links, what they said about ownership, and who wants to hear of it.
pub(crate) struct Session<'a, L> {
    links: &'a mut [L; 2],
    events: &'a mut dyn FnMut(DrillEvent),
    /// All times count from here.
    pub(crate) epoch: Instant,
    pub(crate) owners: OwnerLog,
    /// Requests that are not answered yet. A question dropped by a cancelled future still gets its answer, which must
    /// not be taken for the answer to the next one.
    pending: [u32; 2],
}

impl<'a, L: HostLink> Session<'a, L> {
    pub(crate) fn new(links: &'a mut [L; 2], vips: Vec<String>, events: &'a mut dyn FnMut(DrillEvent)) -> Self {
        Session {
            links,
            events,
            epoch: Instant::now(),
            owners: OwnerLog::new(vips),
            pending: [0; 2],
        }
    }

    pub(crate) fn tell(&mut self, event: DrillEvent) {
        (self.events)(event);
    }

    pub(crate) fn host(&self, side: Side) -> &str {
        self.links[side].host()
    }

    pub(crate) fn macs(&self, side: Side) -> Vec<String> {
        self.links[side].macs()
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Takes the next reply of either host; ownership reports are recorded, everything else is returned with whether
    /// it is the last one outstanding on that link.
    async fn step(&mut self) -> Result<Option<(Side, bool, Reply)>, RemoteError> {
        let [first, second] = &mut *self.links;
        let (side, reply) = tokio::select! {
            reply = first.recv() => (Side::First, reply?),
            reply = second.recv() => (Side::Second, reply?),
        };
        if let Reply::Owned { at_ms, addresses } = &reply {
            let (at_us, changes) = self.owners.record(side, self.now_us(), *at_ms, addresses);
            for (vip, owns) in changes {
                let event = DrillEvent::Ownership {
                    host: self.host(side).to_owned(),
                    vip: self.owners.vips()[vip].clone(),
                    owns,
                    at_ms: at_us / 1000,
                };
                self.tell(event);
            }
            return Ok(None);
        }
        if self.pending[side] == 0 {
            // Nobody asked: only a refused or failed `Watch` can say this.
            return accepted(self.host(side), reply).map(|_| None);
        }
        self.pending[side] -= 1;
        Ok(Some((side, self.pending[side] == 0, reply)))
    }

    /// Asks one host and waits for its answer; reports of both keep being recorded meanwhile.
    pub(crate) async fn ask(&mut self, side: Side, request: &Request, limit: Duration) -> Result<Reply, RemoteError> {
        let host = self.host(side).to_owned();
        let exchange = async {
            self.pending[side] += 1;
            self.links[side].send(request).await?;
            loop {
                if let Some((from, last, reply)) = self.step().await?
                    && from == side
                    && last
                {
                    return Ok(reply);
                }
            }
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => accepted(&host, answer?),
            Err(_) => Err(RemoteError::on(
                &host,
                RemoteErrorKind::Lost,
                format!("no answer to `{}` within {} s", request_name(request), limit.as_secs()),
            )),
        }
    }

    /// Asks for what must be answered by [`Reply::Ack`].
    pub(crate) async fn order(&mut self, side: Side, request: &Request, limit: Duration) -> Result<(), RemoteError> {
        match self.ask(side, request, limit).await? {
            Reply::Ack => Ok(()),
            other => Err(self.unexpected(side, request, &other)),
        }
    }

    pub(crate) fn unexpected(&self, side: Side, request: &Request, reply: &Reply) -> RemoteError {
        let reply = serde_json::to_value(reply)
            .ok()
            .and_then(|v| Some(v.get("reply")?.as_str()?.to_owned()));
        let message = format!(
            "answered `{}` to `{}`",
            reply.unwrap_or_default(),
            request_name(request)
        );
        RemoteError::on(self.host(side), RemoteErrorKind::Refused, message)
            .hint("the executor on the host has another version: run `hapair plan` to replace it")
    }

    /// Starts the reports of both hosts and waits until each has spoken once.
    pub(crate) async fn watch(&mut self, limit: Duration) -> Result<(), RemoteError> {
        let request = Request::Watch {
            addresses: self.owners.vips().to_vec(),
        };
        for side in Side::BOTH {
            self.links[side].send(&request).await?;
        }
        let spoken = async {
            while !(self.owners.heard(Side::First) && self.owners.heard(Side::Second)) {
                self.step().await?;
            }
            Ok(())
        };
        let result: Result<Result<(), RemoteError>, _> = tokio::time::timeout(limit, spoken).await;
        match result {
            Ok(result) => result,
            Err(_) => {
                let silent = Side::first_if(!self.owners.heard(Side::First));
                let message = format!("did not report its addresses within {} s", limit.as_secs());
                Err(RemoteError::on(self.host(silent), RemoteErrorKind::Lost, message))
            }
        }
    }

    /// Waits until `done` holds of what the prober and the hosts say, or until `deadline`: whether it holds.
    pub(crate) async fn wait(
        &mut self,
        live: &mut watch::Receiver<Vec<Live>>,
        deadline: Instant,
        mut done: impl FnMut(&[Live], &OwnerLog) -> bool,
    ) -> Result<bool, RemoteError> {
        let mut told = Instant::now();
        loop {
            let view = live.borrow_and_update().clone();
            if done(&view, &self.owners) {
                return Ok(true);
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.tell(DrillEvent::Probing {
                    total: view.iter().map(|l| l.tally.total).sum(),
                    failed: view.iter().map(|l| l.tally.failed).sum(),
                    node: view.first().filter(|l| l.streak > 0).and_then(|l| l.node.clone()),
                });
            }
            tokio::select! {
                step = self.step() => {
                    step?;
                }
                // An error would mean that the prober is gone; the deadline then ends the wait.
                Ok(()) = live.changed() => {}
                () = tokio::time::sleep_until(deadline.into()) => return Ok(false),
            }
        }
    }

    /// Lets time pass while reports keep being recorded.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<(), RemoteError> {
        let until = Instant::now() + time;
        loop {
            tokio::select! {
                step = self.step() => {
                    step?;
                }
                () = tokio::time::sleep_until(until.into()) => return Ok(()),
            }
        }
    }
}

/// The request's name on the wire.
fn request_name(request: &Request) -> String {
    let value = serde_json::to_value(request).ok();
    value
        .and_then(|v| Some(v.get("request")?.as_str()?.to_owned()))
        .unwrap_or_default()
}

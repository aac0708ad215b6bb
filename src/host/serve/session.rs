//! The conversation with the controller: frames on stdin and stdout.

use std::io::BufRead;
use std::sync::mpsc;
use std::time::Duration;

use crate::host::change::staging;
use crate::host::control::{fault, handover, reboot, stopped_units};
use crate::host::observe::facts::gather;
use crate::host::observe::tools::Tools;
use crate::host::os::error::{Error, Result};
use crate::host::os::root::Root;
use crate::host::os::systemd::TransientUnit;
use crate::host::os::{clock, executor, http_get};
use crate::host::preflight::{segment, surroundings};
use crate::host::record::request::Stored;
use crate::host::record::txn::Txn;
use crate::host::record::{exclusive, history, revert_timer};
use crate::host::report::status;
use crate::host::resource::observe::observe;
use crate::host::resource::observed::fingerprint;
use crate::host::serve::address_watch::{self, Watch};
use crate::host::serve::follow::Following;
use crate::host::serve::operator_lock::{self, Lock};
use crate::host::serve::output::Output;
use crate::host::serve::plan::plan;
use crate::host::transaction::{rollback_plan, rollback_targets, uninstall};
use crate::state::frame::{Operator, PROTOCOL, TakenOver};
use crate::state::resource::Resource;
use crate::state::{Engine, Goal, HostRollback, HostState, Reply, Request, Stage, TxnId};

/// One conversation.
struct Session {
    root: Root,
    output: Output,
    tools: Tools,
    /// What the hello asked the tools may still answer the first plan and the first status: a run without changes
    /// asks each once.
    good_for: GoodFor,
    desired: Option<Box<HostState>>,
    lock: Option<Lock>,
    watch: Option<Watch>,
    following: Option<Following>,
}

/// Which first question may still be answered with what the tools said at the hello.
#[derive(Debug, Clone, Copy)]
struct GoodFor {
    plan: bool,
    status: bool,
}

impl GoodFor {
    const BOTH: GoodFor = GoodFor {
        plan: true,
        status: true,
    };
    const NONE: GoodFor = GoodFor {
        plan: false,
        status: false,
    };
}

/// `hapair-agent serve`: says hello, answers until `Bye` or the end of input.
pub fn serve(root: &Root) {
    let output = Output::new();
    let (sender, incoming) = mpsc::channel();
    std::thread::spawn(move || read_requests(&sender));
    let mut tools = Tools::default();
    let facts = Box::new(gather::gather(root, &mut tools));
    output.send(&Reply::Hello {
        protocol: PROTOCOL,
        facts,
    });
    let mut session = Session {
        root: root.clone(),
        output,
        tools,
        good_for: GoodFor::BOTH,
        desired: None,
        lock: None,
        watch: None,
        following: None,
    };
    while !session.output.is_dead() {
        match incoming.recv_timeout(Duration::from_millis(500)) {
            Ok(Ok(Request::Bye)) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Ok(Ok(request)) => session.answer(request),
            Ok(Err(message)) => {
                let hints = vec!["controller and executor have different versions".to_owned()];
                session.output.send(&Reply::Error { message, hints });
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Ends, and with it the channel, at the end of input.
fn read_requests(sender: &mpsc::Sender<std::result::Result<Request, String>>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if line.trim().is_empty() {
            continue;
        }
        // The frame is not repeated in the message: it may hold secrets.
        let request = serde_json::from_str(&line).map_err(|e| format!("cannot read the request: {e}"));
        let ends = matches!(request, Ok(Request::Bye));
        if sender.send(request).is_err() || ends {
            return;
        }
    }
}

impl Session {
    fn answer(&mut self, request: Request) {
        self.forget_what_is_outdated(&request);
        match self.carry_out(request) {
            Ok(Some(reply)) => self.output.send(&reply),
            Ok(None) => {}
            Err(error) => self.output.send(&error.into()),
        }
    }

    /// What was observed before counts no more once the host was changed.
    fn forget_what_is_outdated(&mut self, request: &Request) {
        let still_good = match request {
            Request::Desired { .. } => std::mem::take(&mut self.good_for.plan),
            Request::Status { .. } => std::mem::take(&mut self.good_for.status),
            Request::Lock { .. }
            | Request::Validate { .. }
            | Request::Watch { .. }
            | Request::Unwatch
            | Request::History
            | Request::PlanRollback { .. }
            | Request::Connect { .. }
            | Request::Clock
            | Request::Segment { .. }
            | Request::Fetch { .. } => true,
            // They change the host or follow a change.
            Request::Apply { .. }
            | Request::Rollback { .. }
            | Request::Purge
            | Request::Attach { .. }
            | Request::Confirm { .. }
            | Request::Cancel { .. }
            | Request::Inject { .. }
            | Request::Repair { .. }
            | Request::Vrrp { .. }
            | Request::Unit { .. }
            | Request::Reboot { .. }
            | Request::Bye => {
                self.good_for = GoodFor::NONE;
                false
            }
        };
        if !still_good {
            self.tools = Tools::default();
        }
    }

    /// Does what is asked. `None`: the answer follows by itself, as events.
    fn carry_out(&mut self, request: Request) -> Result<Option<Reply>> {
        match request {
            Request::Desired { state } => Ok(Some(self.plan(state))),
            Request::Apply {
                txn,
                fingerprint,
                stages,
                confirm_timeout,
                operator,
            } => self
                .unless_known(&txn, |session| {
                    session.apply(&txn, &fingerprint, stages, confirm_timeout, operator)
                })
                .map(|()| None),
            Request::History => Ok(Some(Reply::History {
                transactions: history::history(&self.root),
                installed: uninstall::is_installed(&self.root),
            })),
            Request::PlanRollback { back } => {
                rollback_plan::plan(&self.root, &back).map(|plan| Some(Reply::RollbackPlan { plan }))
            }
            Request::Rollback {
                txn,
                fingerprint,
                back,
                confirm_timeout,
                operator,
            } => self
                .unless_known(&txn, |session| {
                    session.roll_back(&txn, &fingerprint, back, confirm_timeout, operator)
                })
                .map(|()| None),
            Request::Purge => self
                .must_hold_lock()
                .and_then(|()| uninstall::purge(&self.root))
                .map(|()| Some(Reply::Ack)),
            Request::Validate { stages } => self.validate(&stages).map(|()| Some(Reply::Ack)),
            Request::Attach { txn, after } => self.attach(&txn, after).map(|()| None),
            Request::Confirm { txn } => self
                .known(&txn)
                .and_then(|t| revert_timer::confirm(&t))
                .map(|()| Some(Reply::Ack)),
            Request::Cancel { txn } => self.cancel(&txn).map(|()| Some(Reply::Ack)),
            Request::Status { state, look } => Ok(Some(Reply::Status {
                status: status::status(&self.root, &state, look, &mut self.tools),
            })),
            Request::Lock { operator } => self.lock(operator.as_ref()).map(Some),
            Request::Inject { fault, undo_after } => self
                .must_hold_lock()
                .and_then(|()| fault::inject(&self.root, &fault, undo_after))
                .map(|()| Some(Reply::Ack)),
            Request::Repair { fault } => fault::repair(&self.root, &fault).map(|()| Some(Reply::Ack)),
            Request::Watch { addresses } => self.start_watch(addresses).map(|()| None),
            Request::Unwatch => {
                self.watch = None;
                Ok(Some(Reply::Ack))
            }
            Request::Clock => Ok(Some(Reply::Clock { at_ms: clock::now_ms() })),
            Request::Segment { instances } => self.segment(&instances).map(Some),
            Request::Fetch { url, timeout_ms } => Ok(Some(http_get::fetch(&url, timeout_ms))),
            Request::Connect { address, timeout_ms } => {
                http_get::connect(&address, timeout_ms).map(|()| Some(Reply::Ack))
            }
            Request::Vrrp { order } => self
                .must_hold_lock()
                .and_then(|()| handover::order(&self.root, order))
                .map(|()| Some(Reply::Ack)),
            Request::Unit { unit, action } => self
                .must_hold_lock()
                .and_then(|()| stopped_units::apply_action(&self.root, &unit, action))
                .map(|()| Some(Reply::Ack)),
            Request::Reboot { operator, silent } => self.reboot(&operator, silent).map(|()| Some(Reply::Ack)),
            Request::Bye => Ok(None),
        }
    }

    fn plan(&mut self, state: Box<HostState>) -> Reply {
        let engines = [Engine::Agent, Engine::Keepalived].map(Engine::unit);
        let units: Vec<String> = engines
            .iter()
            .chain(&surroundings::UNITS)
            .map(|unit| (*unit).to_owned())
            .collect();
        self.tools.ask(&self.root, &[], &units);
        let engine_active = engines.iter().any(|unit| self.tools.unit(unit).is_active());
        let plan = plan(&self.root, &state, &mut self.tools, engine_active);
        self.desired = Some(state);
        Reply::Plan { plan }
    }

    fn apply(
        &mut self,
        id: &TxnId,
        expected: &str,
        stages: Vec<Stage>,
        confirm_timeout: u64,
        operator: Operator,
    ) -> Result<()> {
        let Some(state) = self.desired.as_deref().cloned() else {
            return Err(Error::new("nothing to apply: no desired state was sent"));
        };
        self.may_change(&operator)?;
        let resources: Vec<&Resource> = state.resources.iter().collect();
        let observed = observe(&self.root, &resources, &mut self.tools);
        if fingerprint(&state, &observed) != expected {
            return Err(Error::new("the host has changed since the plan was made")
                .hint("run `hapair plan`, review it, then apply"));
        }
        let request = Stored {
            state,
            stages,
            confirm_timeout,
            operator: operator.name,
            back: None,
        };
        self.start(id, &request, "hapair: apply")
    }

    fn roll_back(
        &mut self,
        id: &TxnId,
        expected: &str,
        back: HostRollback,
        confirm_timeout: u64,
        operator: Operator,
    ) -> Result<()> {
        self.may_change(&operator)?;
        if back.goal != Goal::Rollback {
            // What keeps a unit stopped would outlive what knows of it.
            fault::repair_all(&self.root)?;
        }
        if rollback_plan::plan(&self.root, &back)?.plan.fingerprint != expected {
            return Err(Error::new("the host has changed since the plan was made").hint("run the command again"));
        }
        let request = Stored {
            state: rollback_targets::state_after_rollback(&self.root, &back),
            stages: Vec::new(),
            confirm_timeout,
            operator: operator.name,
            back: Some(back),
        };
        self.start(id, &request, "hapair: roll back")
    }

    /// Nothing is touched unless we are root, no change waits for its confirm, and nobody else is at work.
    fn may_change(&mut self, operator: &Operator) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::new("the executor is not root").hint("log in as root, or set `ssh.become`"));
        }
        if let Some(armed) = history::armed(&self.root) {
            return Err(
                Error::new(format!("transaction {armed} is waiting for a confirm on this host"))
                    .hint("it reverts automatically when its time is up; then try again"),
            );
        }
        self.keep_lock(operator).map(drop)
    }

    /// Refuses changes outside a transaction unless this session (still) holds the operator lock.
    fn must_hold_lock(&self) -> Result<()> {
        match &self.lock {
            Some(lock) => lock.check(),
            None => Err(
                Error::new("only the run that holds this host's operator lock may change it")
                    .hint("this is a defect of hapair; please report it with the output of -v"),
            ),
        }
    }

    /// Takes the operator lock, or makes sure that it is still held. Returns whose lock was broken for it.
    fn keep_lock(&mut self, operator: &Operator) -> Result<Option<TakenOver>> {
        if let Some(lock) = &self.lock {
            return lock.check().map(|()| None);
        }
        let (lock, broke) = operator_lock::take(&self.root, operator)?;
        self.lock = Some(lock);
        Ok(broke)
    }

    /// Stores a transaction, has PID 1 run it, and follows it.
    fn start(&mut self, id: &TxnId, request: &Stored, description: &str) -> Result<()> {
        let txn = Txn::new(&self.root, id);
        request.store(&txn)?;
        let program = executor::executor();
        let unit = TransientUnit {
            name: &txn.unit(),
            description,
            command: &[&program, "txn", id.as_str()],
        };
        let started = unit.start();
        if started.is_err() {
            let _ = std::fs::remove_dir_all(&txn.dir);
        }
        started?;
        self.follow(txn, 0);
        Ok(())
    }

    fn validate(&self, stages: &[Stage]) -> Result<()> {
        match &self.desired {
            Some(state) => staging::validate_ahead(&self.root, state, stages),
            None => Err(Error::new("nothing to validate: no desired state was sent")),
        }
    }

    fn segment(&self, instances: &[String]) -> Result<Reply> {
        match &self.desired {
            Some(state) => Ok(Reply::Segment {
                seen: segment::ask(&self.root, state, instances),
            }),
            None => Err(Error::new("nothing to look for: no desired state was sent")),
        }
    }

    fn known(&self, id: &TxnId) -> Result<Txn> {
        let txn = Txn::new(&self.root, id);
        if txn.dir.is_dir() {
            Ok(txn)
        } else {
            Err(Error::new(format!("there is no transaction {id} on this host")))
        }
    }

    /// A transaction that the controller asks for again was begun over a connection that it lost since.
    fn unless_known(&mut self, id: &TxnId, begin: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.known(id).is_ok() {
            self.attach(id, 0)
        } else {
            begin(self)
        }
    }

    fn attach(&mut self, id: &TxnId, after: u64) -> Result<()> {
        let txn = self.known(id)?;
        self.follow(txn, after);
        Ok(())
    }

    fn cancel(&mut self, id: &TxnId) -> Result<()> {
        let txn = self.known(id)?;
        txn.mark("cancel")
            .map_err(|e| Error::new(format!("cannot cancel {id}")).because(e))
    }

    fn lock(&mut self, operator: Option<&Operator>) -> Result<Reply> {
        let Some(operator) = operator else {
            self.lock = None;
            return Ok(Reply::Ack);
        };
        let broke = self.keep_lock(operator)?;
        let running = exclusive::running(&self.root);
        Ok(Reply::Locked { broke, running })
    }

    fn reboot(&mut self, operator: &Operator, silent: Option<u64>) -> Result<()> {
        self.may_change(operator)?;
        reboot::order(&self.root, silent)
    }

    fn start_watch(&mut self, addresses: Vec<String>) -> Result<()> {
        self.watch = None;
        let started = address_watch::start(addresses, self.output.clone());
        self.watch = Some(started.map_err(|e| Error::new("cannot watch addresses").because(e))?);
        Ok(())
    }

    /// Tells of this transaction, and of no other any more.
    fn follow(&mut self, txn: Txn, after: u64) {
        self.following = None;
        self.following = Some(Following::start(txn, after, self.output.clone()));
    }
}

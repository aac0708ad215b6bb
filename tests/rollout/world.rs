//! Two stand-in executors: shell scripts that answer like a host would, keep a log of what they were ordered, and hold an election of
//! a kind.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hapair::desired::{Secrets, Templates};
use hapair::inventory::Inventory;
use hapair::remote::{self, Ask, Link, Target};
use hapair::rollout::{
    ApplyOptions, ApplyReport, Context, Interrupt, Member, Observer, Pair, Progress, RollbackOptions, RollbackReport,
    RolloutError, Selection, apply, plan_rollback, rollback,
};
use hapair::state::frame::{IfHeld, Operator};
use hapair::state::{
    Change, Engine, Event, EventKind, Facts, Foreign, Goal, HostRollbackPlan, HostState, HostStatus, InstanceState,
    InstanceStatus, Outcome, OutcomeKind, Plan, Reply, RunningInstance, Secret, Stage, Transaction, TransactionOutcome,
    TxnId,
};

/// The inventory prefers the first.
pub(crate) const HOSTS: [&str; 2] = ["nginx-master", "nginx-backup"];

/// No packet leaves this machine for it.
pub(crate) const VIP: &str = "127.77.0.1";

/// Remembers what was told.
#[derive(Default)]
pub(crate) struct Heard(RefCell<Vec<String>>);

impl Observer for Heard {
    fn tell(&self, progress: Progress) {
        if let Progress::Fact { host, what } | Progress::Warning { host, message: what } = progress {
            self.0
                .borrow_mut()
                .push(format!("{}: {what}", host.unwrap_or_default()));
        }
    }
}

impl Heard {
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        let heard = self.0.borrow();
        assert!(
            heard.iter().any(|line| line.contains(text)),
            "{text} is missing in {heard:#?}"
        );
    }
}

pub(crate) struct Silent;

impl Observer for Silent {
    fn tell(&self, _: Progress) {}
}

impl Ask for Silent {
    fn accept_host_key(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn secret(&self, _: &str) -> Option<Secret> {
        None
    }
}

/// The example, with one VIP.
pub(crate) fn inventory() -> Inventory {
    let text = include_str!("../../inventory.example.yaml");
    let mut inventory = Inventory::parse(text, Path::new("inventory.example.yaml")).expect("valid");
    let instances = &mut inventory.vrrp.as_mut().expect("vrrp").instances;
    instances.truncate(1);
    instances[0].virtual_ipaddress.truncate(1);
    instances[0].virtual_ipaddress[0].address = format!("{VIP}/8").parse().expect("an address");
    inventory
}

/// What a host says in each of its states: engine runs, owns the VIP, has what the inventory wants, took over on command, has a
/// check that has not answered yet.
pub(crate) fn status(host: &str, engine: Engine, [runs, owns, applied, raised, pending]: [bool; 5]) -> HostStatus {
    let priority = if host == HOSTS[0] { 101 } else { 100 };
    let raised = raised.then_some(102);
    let state = match (runs, owns) {
        (false, _) => InstanceState::Stopped,
        (true, true) => InstanceState::Master,
        (true, false) => InstanceState::Backup,
    };
    HostStatus {
        host: host.into(),
        engine: runs.then_some(engine),
        // The VIPs that the inventory wants are all new.
        instances: vec![InstanceStatus {
            name: "VI_1".into(),
            state,
            priority,
            vips: vec![VIP.into()],
            owns_vip: owns && applied,
            held: false,
            raised,
        }],
        running: vec![RunningInstance {
            name: "VI_1".into(),
            virtual_router_id: 51,
            vips: vec!["192.0.2.1".into()],
            state,
            priority,
            owns_vip: owns,
            waits: false,
            raised,
            pending,
        }],
        disabled_checks: vec![],
        warnings: vec![],
        nginx: "active".into(),
        drift: vec![],
        drift_details: vec![],
        transactions: vec![],
    }
}

/// The files that both scripts share.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// Both engines run; host number `owner` has the VIP.
    pub(crate) fn new(owner: usize) -> World {
        let world = World {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for host in HOSTS {
            let facts = Box::new(Facts {
                hostname: host.into(),
                ..Facts::default()
            });
            world.reply(host, "hello", &Reply::Hello { protocol: 1, facts });
            world.runs(host, Engine::Agent);
            world.reply(host, "plan", &Reply::Plan { plan: Plan::default() });
            world.ends(host, OutcomeKind::Done);
            world.mark(host, "engine");
        }
        world.mark(HOSTS[owner], "owns");
        let refusal = Reply::Error {
            message: "the agent refused `takeover`: VI_1: a reason".into(),
            hints: vec![],
        };
        let line = serde_json::to_string(&refusal).expect("json");
        fs::write(world.dir.path().join("refusal"), format!("{line}\n")).expect("written");
        world
    }

    /// What a host answers from now on.
    pub(crate) fn reply(&self, host: &str, to: &str, reply: &Reply) {
        let line = serde_json::to_string(reply).expect("json");
        fs::write(self.dir.path().join(format!("{host}.{to}")), format!("{line}\n")).expect("written");
    }

    /// Which engine a host runs, when it runs one.
    pub(crate) fn runs(&self, host: &str, engine: Engine) {
        for bits in 0..32 {
            let status = status(host, engine, [4, 2, 1, 8, 16].map(|bit| bits & bit > 0));
            self.reply(host, &format!("status.{bits}"), &Reply::Status { status });
        }
    }

    /// How a host's transactions end.
    pub(crate) fn ends(&self, host: &str, result: OutcomeKind) {
        let done = result == OutcomeKind::Done;
        let outcome = Outcome {
            result,
            changed: usize::from(done),
            error: if done { String::new() } else { "no space left".into() },
            hints: vec![],
            reboot_needed: false,
        };
        let event = Event {
            seq: 1,
            at_ms: 0,
            kind: EventKind::Finished { outcome },
        };
        let txn = TxnId::new("TXN").expect("valid");
        self.reply(host, "finished", &Reply::Event { txn, event });
    }

    /// One transaction is in force, and putting it back changes something.
    pub(crate) fn can_roll_back(&self, host: &str, election_critical: bool) {
        let transaction = Transaction {
            id: TxnId::new("20261122T164512Z-3f9a-1").expect("valid"),
            at_ms: 1,
            operator: "ann@desk".into(),
            outcome: TransactionOutcome::Applied,
            changed: 1,
            rolls_back: vec![],
        };
        let history = Reply::History {
            transactions: vec![transaction],
            installed: true,
        };
        self.reply(host, "history", &history);
        let plan = HostRollbackPlan {
            plan: Plan {
                host: host.into(),
                changes: vec![change(Stage::Vrrp, election_critical)],
                ..Plan::default()
            },
            engine_runs_after: true,
            serves_after: true,
            instances: vec![],
        };
        self.reply(host, "put_back", &Reply::RollbackPlan { plan });
    }

    /// Puts everything back.
    pub(crate) fn rolls_back(&self, goal: Goal) -> (Result<(), RolloutError>, RollbackReport) {
        let (inventory, templates) = (inventory(), Templates::embedded());
        let options = RollbackOptions {
            confirm_timeout: 20,
            operator: operator(),
            gate_timeout: PATIENCE,
            left_stopped: None,
        };
        let mut report = RollbackReport::default();
        let done = block_on(async {
            let cx = context(&inventory, &templates);
            let mut pair = self.pair(&cx).await;
            let what = plan_rollback(&mut pair, &Selection::Everything, Foreign::Refuse, goal).await?;
            let interrupt = nobody_interrupts();
            rollback(&cx, &mut pair, &what, &options, interrupt, &mut report).await
        });
        (done, report)
    }

    /// Its clock, compared with that of this machine.
    pub(crate) fn clock_is_ahead(&self, host: &str, milliseconds: i64) {
        fs::write(self.dir.path().join(format!("{host}.ahead")), milliseconds.to_string()).expect("written");
    }

    pub(crate) fn mark(&self, host: &str, what: &str) {
        fs::write(self.dir.path().join(format!("{host}.{what}")), "").expect("written");
    }

    pub(crate) fn unmark(&self, host: &str, what: &str) {
        fs::remove_file(self.dir.path().join(format!("{host}.{what}"))).expect("removed");
    }

    /// What the hosts were ordered, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn script(&self, host: usize) -> String {
        let (me, peer) = (HOSTS[host], HOSTS[1 - host]);
        format!(
            r#"cd {}; cat {me}.hello
bit() {{ if [ -e {me}.$1 ]; then echo $2; else echo 0; fi; }}
did() {{ echo "{me} $1" >> log; }}
ended() {{ id=`echo "$line" | sed 's/.*"txn":"\([^"]*\)".*/\1/'`; sed "s/TXN/$id/" {me}.finished; }}
while read -r line; do case $line in
*'"request":"bye"'*) exit 0;;
*'"request":"status"'*)
  cat {me}.status.$((`bit engine 4` + `bit owns 2` + `bit applied 1` + `bit raised 8` + `bit waits 16`)); rm -f {me}.waits;;
*'"request":"desired"'*) cat {me}.plan;;
*'"request":"history"'*) cat {me}.history;;
*'"request":"plan_put_back"'*) cat {me}.put_back;;
*'"request":"connect"'*) cat {me}.connect;;
*'"request":"clock"'*) echo '{{"reply":"clock","at_ms":'$((`date +%s%3N` + `cat {me}.ahead`))'}}';;
*'"request":"lock"'*'"run"'*) echo '{{"reply":"locked","broke":null,"running":null}}';;
*'"request":"segment"'*) did listens; cat {me}.segment;;
*'"request":"apply"'*) did apply; echo > {me}.applied; if [ -e {me}.starts ]; then echo > {me}.engine; echo > {me}.owns; fi; echo '{{"reply":"plan","plan":{empty}}}' > {me}.plan; ended;;
*'"request":"put_back"'*) did put_back; if [ -e {me}.wakes ]; then echo > {me}.engine; fi; ended;;
*'"request":"unit"'*'"stop"'*)
  if [ -e {me}.stays ]; then did "does not stop"; cat refusal
  else did stop; rm -f {me}.engine
    if [ -e {me}.owns ] && [ -e {peer}.engine ]; then mv {me}.owns {peer}.owns; fi
    echo '{{"reply":"ack"}}'
  fi;;
*'"take_over"'*)
  if [ -e {me}.pending ]; then did "is not ready"; mv {me}.pending {me}.waits; cat refusal
  elif [ -e {me}.refuses ]; then did refuses; cat refusal
  else did "takes over`echo "$line" | sed -n 's/.*"seconds":\([0-9][0-9]*\).*/ for \1 s/p'`"
    echo > {me}.owns; echo > {me}.raised; rm -f {peer}.raised
    if [ ! -e {peer}.deaf ]; then rm -f {peer}.owns; fi
    echo '{{"reply":"ack"}}'
  fi;;
*'"hand_over"'*) did "hands over"; if [ -e {me}.owns ]; then rm {me}.owns; echo > {peer}.owns; fi; echo '{{"reply":"ack"}}';;
*'"hold"'*) did "holds"; echo '{{"reply":"ack"}}';;
*'"resume"'*) did resumes; rm -f {me}.raised
  if [ -e {me}.owns ] && [ -e {peer}.owns ]; then rm {me}.owns; fi
  echo '{{"reply":"ack"}}';;
*'"request":"unit"'*'"start"'*) did start; echo > {me}.engine; echo '{{"reply":"ack"}}';;
*) echo '{{"reply":"ack"}}';;
esac; done
"#,
            self.dir.path().display(),
            empty = serde_json::to_string(&Plan::default()).expect("json"),
        )
    }

    /// Both hosts are to be changed in this stage.
    pub(crate) fn plans_a_change(&self, stage: Stage) {
        for host in HOSTS {
            let plan = Plan {
                host: host.into(),
                changes: vec![change(stage, false)],
                ..Plan::default()
            };
            self.reply(host, "plan", &Reply::Plan { plan });
        }
    }

    /// Applies to both hosts what they have planned.
    pub(crate) fn apply(
        &self,
        inventory: &Inventory,
        gate_timeout: Duration,
    ) -> (Result<(), RolloutError>, ApplyReport) {
        let templates = Templates::embedded();
        let mut report = ApplyReport::default();
        let done = block_on(async {
            let cx = context(inventory, &templates);
            let mut pair = self.pair(&cx).await;
            let options = options(gate_timeout);
            apply(&cx, &mut pair, &options, nobody_interrupts(), &mut report).await
        });
        (done, report)
    }

    pub(crate) async fn pair(&self, cx: &Context<'_>) -> Pair {
        let member = async |host: usize| {
            let mut command = Command::new("sh");
            command.arg("-c").arg(self.script(host));
            let link = Link::local(HOSTS[host], command).await.expect("it greets");
            let plan = fs::read_to_string(self.dir.path().join(format!("{}.plan", HOSTS[host]))).expect("a plan");
            let Ok(Reply::Plan { plan }) = serde_json::from_str(&plan) else {
                panic!("{plan}")
            };
            let target = targets(cx.inventory)[host].clone();
            Member::new(cx, (link, target), HostState::default(), plan)
        };
        Pair {
            members: [member(0).await, member(1).await],
        }
    }
}

pub(crate) fn targets(inventory: &Inventory) -> [Target; 2] {
    HOSTS.map(|host| Target::from_inventory(inventory, host, &remote::Secrets::default()).expect("a host"))
}

pub(crate) fn context<'a>(inventory: &'a Inventory, templates: &'a Templates) -> Context<'a> {
    Context {
        inventory,
        targets: targets(inventory),
        ask: Arc::new(Silent),
        templates,
        secrets: Secrets::new(),
        observer: &Silent,
    }
}

pub(crate) fn nobody_interrupts() -> Interrupt {
    Interrupt::channel().1
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

pub(crate) fn change(stage: Stage, election_critical: bool) -> Change {
    Change {
        resource: format!("something of {}", stage.name()),
        stage,
        summary: "edit".into(),
        diff: None,
        cuts_ssh: false,
        election_critical,
    }
}

pub(crate) fn options(gate_timeout: Duration) -> ApplyOptions {
    ApplyOptions {
        limit: None,
        confirm_timeout: 20,
        operator: operator(),
        gate_timeout,
    }
}

pub(crate) fn operator() -> Operator {
    Operator {
        name: "ann@desk".into(),
        run: "1".into(),
        if_held: IfHeld::Refuse,
    }
}

/// A port of the VIP that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((VIP, 0)).expect("bound");
    listener.local_addr().expect("an address").port()
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

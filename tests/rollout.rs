//! The order over the pair, against two stand-in executors: shell scripts that answer like a host would, keep a log of
//! what they were ordered, and hold an election of a kind.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hapair::desired::{Secrets, Templates};
use hapair::inventory::Inventory;
use hapair::remote::{self, Ask, Link, Target};
use hapair::rollout::{
    ApplyOptions, ApplyReport, Context, Interrupt, Member, Observer, Pair, Progress, Proof, RollbackOptions,
    RollbackReport, RolloutError, RolloutErrorKind, Vantage, Which, apply, plan_rollback, rollback, verify,
};
use hapair::state::facts::{HmacDemand, HmacInPlace};
use hapair::state::frame::{IfHeld, Operator};
use hapair::state::{
    Change, DisabledCheck, Engine, Event, EventKind, Facts, Foreign, Goal, HostState, HostStatus, InstanceState,
    InstanceStatus, Outcome, OutcomeKind, Plan, PutBackPlan, Reply, RunningInstance, Secret, Stage, Transaction,
    TransactionOutcome, TxnId,
};

/// The inventory prefers the first.
const HOSTS: [&str; 2] = ["nginx-master", "nginx-backup"];

/// No packet leaves this machine for it.
const VIP: &str = "127.77.0.1";

struct Silent;

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
fn inventory() -> Inventory {
    let text = include_str!("../inventory.example.yaml");
    let mut inventory = Inventory::parse(text, Path::new("inventory.example.yaml")).expect("valid");
    let instances = &mut inventory.vrrp.as_mut().expect("vrrp").instances;
    instances.truncate(1);
    instances[0].virtual_ipaddress.truncate(1);
    instances[0].virtual_ipaddress[0].address = format!("{VIP}/8").parse().expect("an address");
    inventory
}

/// What a host says in each of its states: engine runs, owns the VIP, has what the inventory wants.
fn status(host: &str, runs: bool, owns: bool, applied: bool) -> HostStatus {
    let state = match (runs, owns) {
        (false, _) => InstanceState::Stopped,
        (true, true) => InstanceState::Master,
        (true, false) => InstanceState::Backup,
    };
    HostStatus {
        host: host.into(),
        engine: runs.then_some(Engine::Agent),
        // The VIPs that the inventory wants are all new.
        instances: vec![InstanceStatus {
            name: "VI_1".into(),
            state,
            priority: 100,
            vips: vec![VIP.into()],
            owns_vip: owns && applied,
            held: false,
            raised: None,
        }],
        running: vec![RunningInstance {
            name: "VI_1".into(),
            virtual_router_id: 51,
            vips: vec!["192.0.2.1".into()],
            state,
            priority: 100,
            owns_vip: owns,
            waits: false,
            raised: None,
            pending: false,
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
struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// Both engines run; host number `owner` has the VIP.
    fn new(owner: usize) -> World {
        let world = World {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for host in HOSTS {
            let facts = Box::new(Facts {
                hostname: host.into(),
                ..Facts::default()
            });
            world.reply(host, "hello", &Reply::Hello { protocol: 1, facts });
            for (bits, [runs, owns, applied]) in (0..8).map(|n| (n, [n & 4 > 0, n & 2 > 0, n & 1 > 0])) {
                let status = status(host, runs, owns, applied);
                world.reply(host, &format!("status.{bits}"), &Reply::Status { status });
            }
            world.reply(host, "plan", &Reply::Plan { plan: Plan::default() });
            world.ends(host, OutcomeKind::Done);
            world.mark(host, "engine");
        }
        world.mark(HOSTS[owner], "owns");
        world
    }

    /// What a host answers from now on.
    fn reply(&self, host: &str, to: &str, reply: &Reply) {
        let line = serde_json::to_string(reply).expect("json");
        fs::write(self.dir.path().join(format!("{host}.{to}")), format!("{line}\n")).expect("written");
    }

    /// How a host's transactions end.
    fn ends(&self, host: &str, result: OutcomeKind) {
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
    fn can_go_back(&self, host: &str, election_critical: bool) {
        let transaction = Transaction {
            id: TxnId::new("20261122T164512Z-3f9a-1").expect("valid"),
            at_ms: 1,
            operator: "ann@desk".into(),
            outcome: TransactionOutcome::Applied,
            changed: 1,
            puts_back: vec![],
        };
        let history = Reply::History {
            transactions: vec![transaction],
            installed: true,
        };
        self.reply(host, "history", &history);
        let plan = PutBackPlan {
            plan: Plan {
                host: host.into(),
                changes: vec![change(Stage::Vrrp, election_critical)],
                ..Plan::default()
            },
            speaks: true,
            serves: true,
            instances: vec![],
        };
        self.reply(host, "put_back", &Reply::PutBackPlan { plan });
    }

    /// Puts everything back.
    fn goes_back(&self, goal: Goal) -> (Result<(), RolloutError>, RollbackReport) {
        let (inventory, templates) = (inventory(), Templates::embedded());
        let options = RollbackOptions {
            confirm_timeout: 20,
            operator: operator(),
            gate_timeout: PATIENCE,
        };
        let mut report = RollbackReport::default();
        let done = block_on(async {
            let cx = context(&inventory, &templates);
            let mut pair = self.pair(&cx).await;
            let what = plan_rollback(&mut pair, &Which::Everything, Foreign::Refuse, goal).await?;
            let interrupt = nobody_interrupts();
            rollback(&cx, &mut pair, &what, None, &options, interrupt, &mut report).await
        });
        (done, report)
    }

    fn mark(&self, host: &str, what: &str) {
        fs::write(self.dir.path().join(format!("{host}.{what}")), "").expect("written");
    }

    fn unmark(&self, host: &str, what: &str) {
        fs::remove_file(self.dir.path().join(format!("{host}.{what}"))).expect("removed");
    }

    /// What the hosts were ordered, in order.
    fn log(&self) -> Vec<String> {
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
*'"request":"status"'*) cat {me}.status.$((`bit engine 4` + `bit owns 2` + `bit applied 1`));;
*'"request":"desired"'*) cat {me}.plan;;
*'"request":"history"'*) cat {me}.history;;
*'"request":"plan_put_back"'*) cat {me}.put_back;;
*'"request":"connect"'*) cat {me}.connect;;
*'"request":"clock"'*) echo '{{"reply":"clock","at_ms":'$((`date +%s%3N` + `cat {me}.ahead`))'}}';;
*'"request":"lock"'*'"run"'*) echo '{{"reply":"locked","broke":null,"running":null}}';;
*'"request":"apply"'*) did apply; echo > {me}.applied; echo '{{"reply":"plan","plan":{empty}}}' > {me}.plan; ended;;
*'"request":"put_back"'*) did put_back; if [ -e {me}.wakes ]; then echo > {me}.engine; fi; ended;;
*'"request":"unit"'*'"stop"'*) did stop; rm -f {me}.engine
  if [ -e {me}.owns ] && [ -e {peer}.engine ]; then mv {me}.owns {peer}.owns; fi
  echo '{{"reply":"ack"}}';;
*'"request":"unit"'*'"start"'*) did start; echo > {me}.engine; echo '{{"reply":"ack"}}';;
*) echo '{{"reply":"ack"}}';;
esac; done
"#,
            self.dir.path().display(),
            empty = serde_json::to_string(&Plan::default()).expect("json"),
        )
    }

    async fn pair(&self, cx: &Context<'_>) -> Pair {
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

fn targets(inventory: &Inventory) -> [Target; 2] {
    HOSTS.map(|host| Target::from_inventory(inventory, host, &remote::Secrets::default()).expect("a host"))
}

fn context<'a>(inventory: &'a Inventory, templates: &'a Templates) -> Context<'a> {
    Context {
        inventory,
        targets: targets(inventory),
        ask: Arc::new(Silent),
        templates,
        secrets: Secrets::new(),
        observer: &Silent,
    }
}

fn nobody_interrupts() -> Interrupt {
    // The sender is kept: a receiver without one tells of an interrupt that never comes.
    let (sender, receiver) = tokio::sync::watch::channel(0);
    std::mem::forget(sender);
    receiver
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn change(stage: Stage, election_critical: bool) -> Change {
    Change {
        resource: format!("something of {}", stage.name()),
        stage,
        summary: "edit".into(),
        diff: None,
        cuts_ssh: false,
        election_critical,
    }
}

fn operator() -> Operator {
    Operator {
        name: "ann@desk".into(),
        run: "1".into(),
        if_held: IfHeld::Refuse,
    }
}

/// A port of the VIP that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((VIP, 0)).expect("bound");
    listener.local_addr().expect("an address").port()
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Applies a change of the service to a pair whose clocks differ by that much, where `in_place` is what both hosts have now; says
/// what was ordered.
fn signed(ahead_ms: [i64; 2], written: &str, in_place: Option<HmacInPlace>) -> (Result<(), RolloutError>, Vec<String>) {
    let text =
        include_str!("../inventory.example.yaml").replace("auth_pass: \"1111\"", &format!("auth_hmac: {written}"));
    let mut wanted = inventory();
    wanted.nginx = None;
    let parsed = Inventory::parse(&text, Path::new("inventory.yaml")).expect("valid");
    let auth = &parsed.vrrp.expect("vrrp").instances[0].auth_hmac;
    wanted.vrrp.as_mut().expect("vrrp").instances[0].auth_hmac = auth.clone();
    let world = World::new(0);
    for (host, ahead) in HOSTS.iter().zip(ahead_ms) {
        fs::write(world.dir.path().join(format!("{host}.ahead")), ahead.to_string()).expect("written");
        let facts = Box::new(Facts {
            hostname: (*host).into(),
            auth_hmac: in_place.iter().map(|auth| ("VI_1".to_owned(), auth.clone())).collect(),
            ..Facts::default()
        });
        world.reply(host, "hello", &Reply::Hello { protocol: 1, facts });
        let plan = Plan {
            host: (*host).into(),
            changes: vec![change(Stage::Vrrp, false)],
            ..Plan::default()
        };
        world.reply(host, "plan", &Reply::Plan { plan });
    }
    let templates = Templates::embedded();
    let options = ApplyOptions {
        limit: None,
        confirm_timeout: 20,
        operator: operator(),
        gate_timeout: Duration::from_secs(1),
    };
    let result = block_on(async {
        let cx = context(&wanted, &templates);
        let mut pair = world.pair(&cx).await;
        let mut report = ApplyReport::default();
        apply(&cx, &mut pair, &options, nobody_interrupts(), &mut report).await
    });
    (result, world.log())
}

#[test]
fn signing_is_not_switched_on_while_the_clocks_differ() {
    let has = |mode, window| {
        Some(HmacInPlace {
            keys: [(1, Secret::new("k"))].into(),
            mode,
            window: Some(window),
        })
    };
    use HmacDemand::{Enforce, Permissive, ReceiveOnly};
    // Half of the window of 60 s is 30 s; the stand-ins answer within some of the other seconds.
    for (ahead, written, in_place) in [
        ([31_000, 0], "{time_window: 60}", None),
        ([-31_000, 0], "{time_window: 60, mode: permissive}", None),
        ([0, 31_000], "{time_window: 60}", has(Permissive, 60)),
        ([0, 31_000], "{time_window: 60, mode: permissive}", has(ReceiveOnly, 60)),
        ([0, 31_000], "{time_window: 60}", has(Enforce, 300)),
        ([0, 3_000], "true", None),
    ] {
        let (result, log) = signed(ahead, written, in_place);
        let error = result.expect_err(written);
        assert!(
            error
                .message
                .starts_with("auth_hmac of VI_1 is not switched on: the clock of"),
            "{error}"
        );
        let first = if ahead[0] > ahead[1] { HOSTS[0] } else { HOSTS[1] };
        assert!(error.message.contains(&format!("the clock of {first} is")), "{error}");
        assert_eq!(log, [""; 0], "{written}");
    }
    for (ahead, written, in_place) in [
        // Both clocks are wrong by the same, as where the controller's is.
        ([90_000, 90_000], "{time_window: 60}", None),
        ([15_000, 0], "{time_window: 60}", None),
        // Nothing becomes stricter than it is, and a repair must not be refused.
        ([0, 59_000], "{time_window: 60}", has(Enforce, 60)),
        ([0, 59_000], "{time_window: 60, mode: permissive}", has(Enforce, 60)),
        ([0, 59_000], "{time_window: 60, mode: receive-only}", None),
    ] {
        let (_, log) = signed(ahead, written, in_place);
        let applied = log.iter().filter(|line| line.ends_with(" apply")).count();
        assert_eq!(applied, 2, "{written}: {log:?}");
    }
}

#[test]
fn an_owner_hands_over_before_its_network_changes_though_the_inventory_has_other_vips() {
    let mut inventory = inventory();
    // Nothing to ask through the VIP: the order is what is looked at.
    inventory.nginx = None;
    let world = World::new(1);
    for host in HOSTS {
        let plan = Plan {
            host: host.into(),
            changes: vec![change(Stage::Network, false)],
            ..Plan::default()
        };
        world.reply(host, "plan", &Reply::Plan { plan });
    }
    let templates = Templates::embedded();
    let options = ApplyOptions {
        limit: None,
        confirm_timeout: 20,
        operator: operator(),
        gate_timeout: PATIENCE,
    };
    let mut report = ApplyReport::default();
    block_on(async {
        let cx = context(&inventory, &templates);
        let mut pair = world.pair(&cx).await;
        apply(&cx, &mut pair, &options, nobody_interrupts(), &mut report).await
    })
    .expect("applied");
    assert_eq!(report.changed, [1, 1]);
    // The preferred host does not own the VIP, so it is the standby, and comes first.
    let order = [
        "nginx-master apply",
        "nginx-backup stop",
        "nginx-backup apply",
        "nginx-backup start",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn a_pair_that_lived_before_hapair_is_given_back_with_the_standby_silent() {
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.can_go_back(host, true));
    let (done, report) = world.goes_back(Goal::Remove);
    done.expect("put back");
    assert_eq!(report.changed, [1, 1]);
    let order = [
        "nginx-backup stop",
        "nginx-master put_back",
        "nginx-backup put_back",
        "nginx-backup start",
    ];
    assert_eq!(world.log(), order);
}

#[test]
fn a_standby_that_is_silent_does_not_come_back_before_the_owner() {
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.can_go_back(host, true));
    world.unmark(HOSTS[1], "engine");
    // What is put back has its engine running, as before the run.
    world.mark(HOSTS[1], "wakes");
    let (done, report) = world.goes_back(Goal::Rollback);
    done.expect("put back");
    assert_eq!(report.changed, [1, 1]);
    assert_eq!(world.log(), ["nginx-master put_back", "nginx-backup put_back"]);
}

#[test]
fn an_owner_that_has_moved_leaves_the_standby_speaking() {
    let mut inventory = inventory();
    inventory.nginx = None;
    let world = World::new(0);
    for host in HOSTS {
        let plan = Plan {
            host: host.into(),
            changes: vec![change(Stage::Vrrp, true)],
            ..Plan::default()
        };
        world.reply(host, "plan", &Reply::Plan { plan });
    }
    let templates = Templates::embedded();
    let options = ApplyOptions {
        limit: None,
        confirm_timeout: 20,
        operator: operator(),
        gate_timeout: PATIENCE,
    };
    let cx = context(&inventory, &templates);
    let error = block_on(async {
        let mut pair = world.pair(&cx).await;
        let plan = Plan {
            fingerprint: "another".into(),
            ..pair.members[0].plan.clone()
        };
        world.reply(HOSTS[0], "plan", &Reply::Plan { plan });
        apply(
            &cx,
            &mut pair,
            &options,
            nobody_interrupts(),
            &mut ApplyReport::default(),
        )
        .await
    })
    .expect_err("it has moved");
    assert!(
        error.message.contains("the host has changed since the plan was made"),
        "{error}"
    );
    assert_eq!(world.log(), Vec::<String>::new(), "nothing was stopped");
}

#[test]
fn a_rollback_or_removal_that_a_host_takes_back_says_so_and_ends_there() {
    for goal in [Goal::Rollback, Goal::Remove] {
        let world = World::new(0);
        HOSTS.iter().for_each(|host| world.can_go_back(host, false));
        world.ends(HOSTS[1], OutcomeKind::Reverted);
        let (done, report) = world.goes_back(goal);
        let error = done.expect_err("the standby took it back");
        // Exit code 5.
        assert_eq!(error.kind, RolloutErrorKind::RolledBack);
        assert_eq!(
            error.message,
            "nginx-backup: no space left; everything this transaction replaced was put back"
        );
        assert_eq!(
            (report.changed, world.log()),
            ([0, 0], vec!["nginx-backup put_back".to_owned()])
        );
    }
}

/// Keeps the warnings.
#[derive(Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl Observer for Heard {
    fn tell(&self, progress: Progress) {
        if let Progress::Warning {
            host: Some(host),
            message,
        } = progress
        {
            self.0.lock().expect("nobody panics").push(format!("{host}: {message}"));
        }
    }
}

#[test]
fn a_check_that_a_host_does_not_run_is_told_at_the_end() {
    let mut inventory = inventory();
    inventory.nginx = None;
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.mark(host, "applied"));
    for (bits, [runs, owns, applied]) in (0..8).map(|n| (n, [n & 4 > 0, n & 2 > 0, n & 1 > 0])) {
        let mut status = status(HOSTS[1], runs, owns, applied);
        status.disabled_checks.push(DisabledCheck {
            name: "chk_process".into(),
            reason: "`killall` is not in /usr/bin".into(),
        });
        world.reply(HOSTS[1], &format!("status.{bits}"), &Reply::Status { status });
    }
    let (templates, heard) = (Templates::embedded(), Heard::default());
    let cx = Context {
        observer: &heard,
        ..context(&inventory, &templates)
    };
    block_on(async {
        let mut pair = world.pair(&cx).await;
        verify(&cx, &mut pair, PATIENCE, nobody_interrupts()).await
    })
    .expect("verified");
    let heard = heard.0.into_inner().expect("nobody panics");
    let wanted = "nginx-backup: check chk_process is disabled and counts for nothing: `killall` is not in /usr/bin";
    assert_eq!(heard, [wanted]);
}

#[test]
fn a_pair_that_speaks_tls_only_is_seen_from_the_standby_as_far_as_that_goes() {
    let mut inventory = inventory();
    let servers = &mut inventory.nginx.as_mut().expect("nginx").servers;
    servers.truncate(1);
    let port = free_port();
    (servers[0].tls, servers[0].listen.port) = (true, port);
    let world = World::new(0);
    HOSTS.iter().for_each(|host| world.mark(host, "applied"));
    world.reply(HOSTS[1], "connect", &Reply::Ack);
    let templates = Templates::embedded();
    let cx = context(&inventory, &templates);
    let seen = block_on(async {
        let mut pair = world.pair(&cx).await;
        verify(&cx, &mut pair, PATIENCE, nobody_interrupts()).await
    })
    .expect("verified");
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((seen.owner.as_str(), seen.port), (HOSTS[0], port));
    assert_eq!((seen.from, seen.proof), (Vantage::Standby, Proof::Connection));

    // Where the standby gets no connection either, that is a failure that says so.
    let refused = Reply::Error {
        message: "no connection to it: refused".into(),
        hints: vec![],
    };
    world.reply(HOSTS[1], "connect", &refused);
    let error = block_on(async {
        let mut pair = world.pair(&cx).await;
        verify(&cx, &mut pair, Duration::ZERO, nobody_interrupts()).await
    })
    .expect_err("nobody takes a connection");
    assert!(
        error.message.contains("from here: ") && error.message.contains("nginx-backup: no connection to it"),
        "{error}"
    );
}

//! Transactions over a directory that stands for a host: whatever the files were, an apply makes them as desired, a
//! second plan is empty, and a failure puts back every byte, mode and link.
#![cfg(feature = "agent")]

mod host_support;

use std::fs;

use hapair::state::OutcomeKind;
use hapair::state::resource::{Content, Spec, Stage};
use host_support::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_after_an_apply(befores in prop::collection::vec(before(), PATHS.len())) {
        let (_dir, root) = prepared(&befores);
        let state = state(everything());
        let planned = look(&root, &state);
        let (outcome, events) = apply(&root, &state, "one", false);
        prop_assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
        prop_assert_eq!(outcome.changed, planned.changes.len());
        prop_assert!(look(&root, &state).is_empty(), "{:?}", look(&root, &state).changes);
        let shown = format!("{planned:?}{events:?}");
        prop_assert!(!shown.contains("hunter22"), "a secret shows");
        let (again, _) = apply(&root, &state, "two", false);
        prop_assert_eq!(again.changed, 0);
    }

    #[test]
    fn a_failure_reverts_everything(befores in prop::collection::vec(before(), PATHS.len())) {
        let (_dir, root) = prepared(&befores);
        let mut resources = everything();
        // Its owner does not exist: it fails after all the others.
        let spec = Spec::File {
            path: "/etc/app/last".into(),
            content: Content::Text(String::new()),
            mode: 0o644,
            owner: "nobody-here".into(),
            group: "root".into(),
            validator: None,
        };
        resources.push(resource("last", Stage::Vrrp, spec));
        let before = tree(&root);
        let (outcome, _) = apply(&root, &state(resources), "one", false);
        prop_assert_eq!(outcome.result, OutcomeKind::Reverted, "{}", outcome.error);
        prop_assert!(outcome.error.contains("last: there is no user `nobody-here`"), "{}", outcome.error);
        prop_assert_eq!(tree(&root), before);
    }
}

#[test]
fn a_transaction_that_finds_another_at_work_gives_its_reserve_back() {
    let (_dir, root) = prepared(&[]);
    let before = tree(&root);
    let other = fs::File::create(root.path("/run/hapair-txn.lock")).unwrap();
    other.lock().unwrap();
    let (outcome, _) = apply(&root, &state(everything()), "one", false);
    assert_eq!(
        (outcome.result, outcome.error.as_str()),
        (OutcomeKind::Failed, "another transaction runs on this host")
    );
    assert_eq!(tree(&root), before);
    let files = root.names("/var/lib/hapair/txn/one");
    assert!(
        files.contains(&"journal".to_owned()) && !files.contains(&"reserve".to_owned()),
        "{files:?}"
    );
}

#[test]
fn an_apply_while_keepalived_is_held_is_refused_ahead_and_says_how_to_end_the_hold() {
    use hapair::host::change::staging::validate_ahead;
    use hapair::state::{Engine, HostState};

    let (_dir, root) = prepared(&[]);
    let wanted = HostState {
        engine: Some(Engine::Keepalived),
        ..state(vec![])
    };
    assert!(validate_ahead(&root, &wanted, &[Stage::Vrrp]).is_ok());
    fs::create_dir_all(root.path("/run/hapair/fault")).unwrap();
    fs::write(
        root.path("/run/hapair/fault/keepalived.service.json"),
        "{\"active\":true}",
    )
    .unwrap();
    let error = validate_ahead(&root, &wanted, &[Stage::Vrrp]).unwrap_err();
    assert!(
        error.hints[0].contains("`hapair handover --resume`"),
        "{error} {:?}",
        error.hints
    );
    assert!(validate_ahead(&root, &wanted, &[Stage::Nginx]).is_ok());
}

#[test]
fn what_a_killed_transaction_left_of_the_election_is_critical_as_long_as_an_engine_runs() {
    use hapair::host::observe::tools::Tools;
    use hapair::host::record::journal::Journal;
    use hapair::host::record::request::Stored;
    use hapair::host::record::txn::Txn;
    use hapair::host::serve::plan::plan;
    use hapair::state::{EventKind, Reaction, TxnId};

    let (_dir, root) = prepared(&[]);
    let mut conf = resource(
        "file keepalived.conf",
        Stage::Vrrp,
        text_file("/etc/app/keepalived.conf", Content::Text("new\n".into()), 0o644),
    );
    conf.election_critical = true;
    let unit = "hapair-agent.service".to_owned();
    conf.reactions = vec![Reaction::Reload { unit }];
    let wanted = state(vec![conf]);
    // Placed, and killed before what reads it was told.
    fs::write(root.path("/etc/app/keepalived.conf"), "new\n").unwrap();
    let txn = Txn::new(&root, &TxnId::new("one").unwrap());
    let request = Stored {
        state: wanted.clone(),
        stages: vec![Stage::Vrrp],
        confirm_timeout: 5,
        operator: "test".into(),
        back: None,
    };
    request.store(&txn).unwrap();
    Journal::open(&txn, &[])
        .unwrap()
        .write(EventKind::ResourceStarted {
            resource: "file keepalived.conf".into(),
            summary: String::new(),
        })
        .unwrap();
    for engine_active in [true, false] {
        let seen = plan(&root, &wanted, &mut Tools::default(), engine_active);
        let interrupted = seen.changes.iter().find(|c| c.resource.contains("interrupted"));
        let interrupted = interrupted.expect("it is to be made up for");
        assert_eq!(interrupted.election_critical, engine_active, "{interrupted:?}");
    }
}

#[test]
fn a_cancelled_transaction_touches_nothing() {
    let (_dir, root) = prepared(&[]);
    let before = tree(&root);
    let (outcome, _) = apply(&root, &state(everything()), "one", true);
    assert_eq!(
        (outcome.result, outcome.error.as_str()),
        (OutcomeKind::Reverted, "cancelled by the operator")
    );
    assert_eq!(tree(&root), before);
}

#[test]
fn a_plan_writes_nothing_and_moves_with_the_host() {
    let (_dir, root) = prepared(&[]);
    let state = state(everything());
    let before = tree(&root);
    let first = look(&root, &state);
    assert_eq!(look(&root, &state).fingerprint, first.fingerprint);
    assert_eq!(tree(&root), before);
    fs::write(root.path("/etc/app/secret"), "x").unwrap();
    assert_ne!(look(&root, &state).fingerprint, first.fingerprint);
}

#[test]
fn a_killed_transaction_is_named_in_the_next_plan_and_ended_by_the_next_apply() {
    let (_dir, root) = prepared(&[]);
    let mut resources = everything();
    for resource in &mut resources {
        resource.reactions = vec![hapair::state::Reaction::Reload {
            unit: "app.service".into(),
        }];
    }
    let state = state(resources);
    let (_, _) = apply(&root, &state, "one", false);
    // As if it had been killed after its last file: no end, and perhaps no reload.
    let journal = root.path("/var/lib/hapair/txn/one/journal");
    let text = fs::read_to_string(&journal).unwrap();
    let kept: Vec<&str> = text.lines().filter(|l| !l.contains("finished")).collect();
    fs::write(&journal, kept.join("\n")).unwrap();
    let plan = look(&root, &state);
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].summary, "reload app.service");
    let (outcome, _) = apply(&root, &state, "two", false);
    assert_eq!(outcome.result, OutcomeKind::Done);
    assert!(look(&root, &state).is_empty());
}

#[test]
fn only_the_last_transactions_are_kept() {
    let (_dir, root) = prepared(&[]);
    for n in 0..25 {
        apply(&root, &state(vec![]), &format!("t{n:02}"), false);
    }
    let names = root.names("/var/lib/hapair/txn");
    assert_eq!((names.len(), names[0].as_str()), (20, "t05"));
}

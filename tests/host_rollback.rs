//! Putting transactions back, over a directory that stands for a host: whatever was applied, a rollback leaves every
//! byte, mode and link as before, and refuses to lose what other hands did since.
#![cfg(feature = "agent")]

mod host_support;

use std::fs;

use hapair::host::record::history;
use hapair::host::record::journal::Journal;
use hapair::host::record::request::Stored;
use hapair::host::record::txn::Txn;
use hapair::host::transaction::rollback_plan;
use hapair::host::transaction::rollback_targets::state_after_rollback;
use hapair::state::resource::Content;
use hapair::state::{Foreign, Goal, HostRollback, OutcomeKind, Resource, Spec, Stage, TransactionOutcome, TxnId};
use host_support::*;
use proptest::prelude::*;

fn ids(names: &[&str]) -> Vec<TxnId> {
    names.iter().map(|name| TxnId::new(name).unwrap()).collect()
}

fn back(names: &[&str]) -> HostRollback {
    HostRollback {
        transactions: ids(names),
        foreign: Foreign::Refuse,
        goal: Goal::Rollback,
    }
}

/// Stores a transaction that puts others back.
fn stored(root: &Root, what: &HostRollback, id: &str) -> (Txn, Stored) {
    let txn = Txn::new(root, &TxnId::new(id).unwrap());
    let request = Stored {
        state: state_after_rollback(root, what),
        stages: vec![],
        confirm_timeout: 5,
        operator: "test".into(),
        back: Some(what.clone()),
    };
    request.store(&txn).unwrap();
    (txn, request)
}

/// Puts back; the transaction that does it has this id.
fn roll_back(root: &Root, what: &HostRollback, id: &str) -> Outcome {
    let (txn, request) = stored(root, what, id);
    let journal = Journal::open(&txn, &request.state.secrets).unwrap();
    execute(root, &txn, &request, journal).unwrap();
    outcome_of(&txn)
}

fn outcome(root: &Root, id: &str) -> TransactionOutcome {
    let known = history::history(root);
    known.iter().find(|t| t.id.as_str() == id).expect("known").outcome
}

/// Some of [`everything`], with contents of their own.
fn some_of(mask: u8, word: &str) -> Vec<Resource> {
    let mut picked: Vec<Resource> = everything()
        .into_iter()
        .enumerate()
        .filter(|(i, _)| mask & (1 << i) != 0)
        .map(|(_, r)| r)
        .collect();
    for resource in &mut picked {
        if let Spec::File { content, mode, .. } = &mut resource.spec {
            *content = Content::Text(format!("{word}\n"));
            *mode = if word.len() > 3 { 0o640 } else { 0o600 };
        }
    }
    picked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollback_is_byte_identical_one_by_one(
        befores in prop::collection::vec(before(), PATHS.len()),
        applies in prop::collection::vec((any::<u8>(), "[a-z]{1,6}"), 1..4),
    ) {
        let (_dir, root) = prepared(&befores);
        let mut trees = vec![];
        let names: Vec<String> = (1..=applies.len()).map(|n| format!("20261122T164512Z-3f9a-{n}")).collect();
        for ((mask, word), name) in applies.iter().zip(&names) {
            trees.push(tree(&root));
            let (outcome, _) = apply(&root, &state(some_of(*mask, word)), name, false);
            prop_assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
        }
        for (n, name) in names.iter().enumerate().rev() {
            let what = back(&[name]);
            let planned = rollback_plan::plan(&root, &what).expect("nothing forbids it").plan;
            let differs = tree(&root) != trees[n];
            prop_assert_eq!(!planned.changes.is_empty(), differs, "{:?}", planned.changes);
            let outcome = roll_back(&root, &what, &format!("20261122T170000Z-0000-{}", 10 - n));
            prop_assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
            prop_assert_eq!(tree(&root), trees[n].clone());
            prop_assert_eq!(history::history(&root)[n].outcome, TransactionOutcome::RolledBack);
            if n > 0 {
                let (mask, word) = &applies[n - 1];
                let plan = look(&root, &state(some_of(*mask, word)));
                prop_assert!(plan.is_empty(), "{:?}", plan.changes);
            }
        }
    }

    #[test]
    fn a_rollback_is_byte_identical_in_one_go_and_so_is_taking_it_back(
        befores in prop::collection::vec(before(), PATHS.len()),
        applies in prop::collection::vec((any::<u8>(), "[a-z]{1,6}"), 1..4),
    ) {
        let (_dir, root) = prepared(&befores);
        let first = tree(&root);
        let names: Vec<String> = (1..=applies.len()).map(|n| format!("20261122T164512Z-3f9a-{n}")).collect();
        for ((mask, word), name) in applies.iter().zip(&names) {
            let (outcome, _) = apply(&root, &state(some_of(*mask, word)), name, false);
            prop_assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
        }
        let applied = tree(&root);
        let newest_first: Vec<&str> = names.iter().rev().map(String::as_str).collect();
        let what = back(&newest_first);
        let outcome = roll_back(&root, &what, "20261122T170000Z-0000-1");
        prop_assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
        prop_assert_eq!(tree(&root), first);
        // As if it had been killed at its end: the next transaction puts back what it had put back.
        unfinish(&root, "20261122T170000Z-0000-1");
        let (outcome, _) = apply(&root, &state(vec![]), "20261122T180000Z-0000-1", false);
        prop_assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
        prop_assert_eq!(tree(&root), applied);
        prop_assert!(history::history(&root).iter().all(|t| t.outcome != TransactionOutcome::RolledBack));
    }
}

/// A host on which `/etc/app/secret` was written twice.
fn twice() -> (tempfile::TempDir, Root) {
    let (dir, root) = prepared(&[]);
    for (id, word) in [("t1", "one"), ("t2", "two")] {
        let file = resource(
            "file",
            Stage::Nginx,
            text_file("/etc/app/file", Content::Text(format!("{word}\n")), 0o640),
        );
        let (outcome, _) = apply(&root, &state(vec![file]), id, false);
        assert_eq!((outcome.result, outcome.changed), (OutcomeKind::Done, 1));
    }
    (dir, root)
}

#[test]
fn what_someone_else_changed_is_refused_by_name_unless_forced() {
    let (_dir, root) = twice();
    fs::write(root.path("/etc/app/file"), "by hand\n").unwrap();
    let error = rollback_plan::plan(&root, &back(&["t2"])).unwrap_err();
    assert!(error.message.contains("modified since by someone else: "), "{error}");
    assert!(error.message.ends_with("/etc/app/file"), "{error}");
    assert!(error.hints.iter().any(|h| h.contains("--force")), "{:?}", error.hints);
    // Also where the transaction finds it out itself.
    let outcome = roll_back(&root, &back(&["t2"]), "t3");
    assert_eq!(outcome.result, OutcomeKind::Reverted);
    assert_eq!(fs::read_to_string(root.path("/etc/app/file")).unwrap(), "by hand\n");
    let forced = HostRollback {
        foreign: Foreign::Overwrite,
        ..back(&["t2"])
    };
    assert_eq!(roll_back(&root, &forced, "t4").result, OutcomeKind::Done);
    assert_eq!(fs::read_to_string(root.path("/etc/app/file")).unwrap(), "one\n");
}

#[test]
fn what_someone_else_changed_between_two_transactions_is_seen_too() {
    let (_dir, root) = prepared(&[]);
    let write = |id: &str, word: &str| {
        let content = Content::Text(format!("{word}\n"));
        let file = resource("file", Stage::Nginx, text_file("/etc/app/file", content, 0o640));
        apply(&root, &state(vec![file]), id, false);
    };
    write("t1", "one");
    fs::write(root.path("/etc/app/file"), "by hand\n").unwrap();
    write("t2", "two");
    assert!(rollback_plan::plan(&root, &back(&["t2"])).is_ok());
    let error = rollback_plan::plan(&root, &back(&["t2", "t1"])).unwrap_err();
    assert!(error.message.contains("/etc/app/file"), "{error}");
}

#[test]
fn a_later_transaction_comes_first() {
    let (_dir, root) = twice();
    let error = rollback_plan::plan(&root, &back(&["t1"])).unwrap_err();
    assert!(error.message.contains("transaction t2 came after t1"), "{error}");
    assert_eq!(error.hints, ["`hapair rollback t2`"]);
    assert_eq!(roll_back(&root, &back(&["t2"]), "t3").result, OutcomeKind::Done);
    assert_eq!(outcome(&root, "t2"), TransactionOutcome::RolledBack);
    let again = rollback_plan::plan(&root, &back(&["t2"])).unwrap_err();
    assert!(again.message.contains("it is rolled back"), "{again}");
    assert_eq!(roll_back(&root, &back(&["t1"]), "t4").result, OutcomeKind::Done);
    assert!(!root.path("/etc/app/file").exists());
    let unknown = rollback_plan::plan(&root, &back(&["t9"])).unwrap_err();
    assert!(unknown.message.contains("no transaction t9"), "{unknown}");
}

#[test]
fn a_killed_transaction_is_rolled_back_like_any_other() {
    let (_dir, root) = twice();
    unfinish(&root, "t2");
    assert_eq!(outcome(&root, "t2"), TransactionOutcome::Interrupted);
    assert_eq!(roll_back(&root, &back(&["t2"]), "t3").result, OutcomeKind::Done);
    assert_eq!(fs::read_to_string(root.path("/etc/app/file")).unwrap(), "one\n");
    assert_eq!(outcome(&root, "t2"), TransactionOutcome::RolledBack);
}

#[test]
fn drift_is_measured_against_what_is_in_force() {
    let (_dir, root) = twice();
    let file = |word: &str| {
        let content = Content::Text(format!("{word}\n"));
        state(vec![resource(
            "file",
            Stage::Nginx,
            text_file("/etc/app/file", content, 0o640),
        )])
    };
    let drift = |word: &str| {
        let look = hapair::state::frame::Look::Whole;
        hapair::host::report::status::status(&root, &file(word), look, &mut Tools::default()).drift
    };
    assert_eq!(roll_back(&root, &back(&["t2"]), "t3").result, OutcomeKind::Done);
    assert!(drift("one").is_empty(), "{:?}", drift("one"));
    fs::write(root.path("/etc/app/file"), "by hand\n").unwrap();
    assert_eq!(drift("one"), ["file"]);
}

#[test]
fn a_removal_takes_off_what_is_known_and_names_what_is_not() {
    let (_dir, root) = prepared(&[]);
    let before = tree(&root);
    fs::write(root.path("/etc/app/theirs"), "theirs\n").unwrap();
    let write = |id: &str, path: &str, word: &str| {
        let file = resource(
            path,
            Stage::Nginx,
            text_file(path, Content::Text(format!("{word}\n")), 0o640),
        );
        let (outcome, _) = apply(&root, &state(vec![file]), id, false);
        assert_eq!(
            (outcome.result, outcome.changed),
            (OutcomeKind::Done, 1),
            "{}",
            outcome.error
        );
    };
    write("a00", "/etc/app/theirs", "ours");
    write("a01", "/etc/app/made", "made");
    write("a02", "/etc/app/made", "made again");
    // So many that the first three are forgotten.
    for n in 0..20 {
        write(&format!("b{n:02}"), "/etc/app/other", &format!("{n}"));
    }
    let known: Vec<String> = history::history(&root).iter().rev().map(|t| t.id.to_string()).collect();
    assert_eq!((known.len(), known.last().map(String::as_str)), (20, Some("b00")));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let remove = HostRollback {
        goal: Goal::Remove,
        ..back(&known)
    };
    let planned = rollback_plan::plan(&root, &remove).expect("nothing forbids it");
    assert!(!planned.serves_after);
    assert_eq!(planned.plan.notes.len(), 1, "{:?}", planned.plan.notes);
    assert!(
        planned.plan.notes[0].contains("/etc/app/theirs cannot be restored"),
        "{:?}",
        planned.plan.notes
    );
    let outcome = roll_back(&root, &remove, "c00");
    assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
    assert_eq!(outcome.hints, planned.plan.notes);
    assert_eq!(fs::read_to_string(root.path("/etc/app/theirs")).unwrap(), "ours\n");
    fs::remove_file(root.path("/etc/app/theirs")).unwrap();
    assert_eq!(tree(&root), before);
}

//! What other hands changed since the last apply, over a directory that stands for a host: named, told apart from what
//! hapair did itself, shown as a diff that holds no secret, and put right by an apply unless hapair has no opinion on it.
#![cfg(feature = "agent")]

mod host_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use hapair::host::record::journal::Journal;
use hapair::host::record::request::Stored;
use hapair::host::record::txn::Txn;
use hapair::host::report::status::status;
use hapair::state::edit::Edit;
use hapair::state::frame::Look;
use hapair::state::resource::{Content, HostState, Resource, Spec, Stage};
use hapair::state::{By, Drift, HostStatus, Moment, OutcomeKind, Remedy, TxnId};
use host_support::*;
use proptest::prelude::*;

fn whole(root: &Root, state: &HostState) -> HostStatus {
    status(root, state, Look::Whole, &mut Tools::default())
}

/// What plan and status say, which must be the same.
#[track_caller]
fn drift(root: &Root, state: &HostState) -> Vec<Drift> {
    let status = whole(root, state);
    let ids: Vec<&str> = status.drift_details.iter().map(|d| d.resource.as_str()).collect();
    assert_eq!(status.drift, ids);
    assert_eq!(look(root, state).drift, status.drift_details);
    status.drift_details
}

#[track_caller]
fn only(mut all: Vec<Drift>) -> Drift {
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn text(path: &str, content: &str) -> Resource {
    resource(
        path,
        Stage::Nginx,
        text_file(path, Content::Text(content.into()), 0o640),
    )
}

#[track_caller]
fn applied(root: &Root, state: &HostState, id: &str) {
    let (outcome, _) = apply(root, state, id, false);
    assert_eq!(outcome.result, OutcomeKind::Done, "{}", outcome.error);
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// File times have the kernel's tick as resolution: what comes after this is later than what came before.
fn next_tick(dir: &std::path::Path) {
    let probe = dir.join("tick");
    let began = now_ms();
    loop {
        fs::write(&probe, "x").unwrap();
        let meta = fs::metadata(&probe).unwrap();
        let at = meta.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        if at.as_millis() > u128::from(began) {
            return;
        }
    }
}

#[test]
fn a_file_edited_by_hand_is_named_with_who_when_and_a_diff_and_put_right() {
    let (dir, root) = prepared(&[]);
    let state = state(vec![text("/etc/app/file", "one\ntwo\nthree\n")]);
    let before = now_ms();
    applied(&root, &state, "t1");
    assert!(drift(&root, &state).is_empty());
    next_tick(dir.path());
    let path = root.path("/etc/app/file");
    fs::write(&path, "one\n2\nthree\nfour\n").unwrap();
    let found = only(drift(&root, &state));
    assert_eq!(
        (found.what.as_str(), found.transaction.as_str(), found.remedy),
        ("2 lines changed", "t1", Remedy::PutsRight)
    );
    assert_eq!(found.by, Some(By::User { name: "root".into() }));
    let Some(Moment::AtMs(at)) = found.when else {
        panic!("{found:?}")
    };
    assert!(
        before <= found.since_ms && found.since_ms < at && at <= now_ms(),
        "{found:?}"
    );
    assert_eq!(
        found.diff.as_deref(),
        Some(
            "--- /etc/app/file (as hapair left it)\n+++ /etc/app/file (now)\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n"
        )
    );
    // More than the owner may write there now: nobody is named.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let found = only(drift(&root, &state));
    assert_eq!(
        (found.what.as_str(), found.by),
        ("2 lines changed, mode 0640 to 0666", None)
    );
    applied(&root, &state, "t2");
    assert!(drift(&root, &state).is_empty());
}

#[test]
fn a_glance_does_not_look_for_it() {
    let (_dir, root) = prepared(&[]);
    let state = state(vec![text("/etc/app/file", "one\n")]);
    applied(&root, &state, "t1");
    fs::write(root.path("/etc/app/file"), "by hand\n").unwrap();
    let glance = status(&root, &state, Look::Glance, &mut Tools::default());
    assert!(glance.drift.is_empty() && glance.drift_details.is_empty());
    assert_eq!(whole(&root, &state).drift, ["/etc/app/file"]);
}

#[test]
fn what_is_deleted_replaced_created_or_added_is_named_too() {
    let (dir, root) = prepared(&[]);
    let state = state(everything());
    applied(&root, &state, "t1");
    next_tick(dir.path());
    fs::remove_file(root.path("/etc/app/deep/er/file")).unwrap();
    fs::remove_file(root.path("/etc/app/edited")).unwrap();
    std::os::unix::fs::symlink("own.repo", root.path("/etc/app/edited")).unwrap();
    fs::set_permissions(root.path("/etc/app/deep"), fs::Permissions::from_mode(0o711)).unwrap();
    fs::write(root.path("/etc/app/added.repo"), "[x]\n").unwrap();
    let found = drift(&root, &state);
    let words: Vec<(&str, &str)> = found.iter().map(|d| (d.resource.as_str(), d.what.as_str())).collect();
    assert_eq!(
        words,
        [
            // An edit goes through the link, as an editor would.
            ("edit", "2 lines changed"),
            ("directory", "mode 0750 to 0711"),
            ("file", "deleted"),
            ("repositories", "added.repo added"),
        ]
    );
    let deleted = &found[2];
    assert!(
        matches!(deleted.when, Some(Moment::AtOrBeforeMs(ms)) if ms > deleted.since_ms),
        "{deleted:?}"
    );
    assert_eq!(
        deleted.diff.as_deref(),
        Some(
            "--- /etc/app/deep/er/file (as hapair left it)\n+++ /etc/app/deep/er/file (now)\n@@ -1 +0,0 @@\n-wanted\n"
        )
    );
    assert!(deleted.account().contains(" or before"), "{}", deleted.account());
    assert_eq!(found[3].by, Some(By::User { name: "root".into() }));
    applied(&root, &state, "t2");
    assert!(drift(&root, &state).is_empty());
}

#[test]
fn a_secret_shows_in_no_drift() {
    let (_dir, root) = prepared(&[]);
    let conf = "vrrp {\n  auth_pass 0ldpass\n  key hunter22\n}\n";
    let state = state(vec![text("/etc/app/conf", conf)]);
    applied(&root, &state, "t1");
    fs::write(
        root.path("/etc/app/conf"),
        "vrrp {\n  auth_pass n3wpass\n  key hunter22\n  more\n}\n",
    )
    .unwrap();
    let found = only(drift(&root, &state));
    assert_eq!(found.what, "2 lines changed");
    let diff = found.diff.as_deref().expect("a diff");
    assert!(
        diff.contains("-  auth_pass ********\n+  auth_pass ********\n"),
        "{diff}"
    );
    assert!(diff.contains("   key ********\n"), "{diff}");
    let all = format!("{found:?}{:?}", look(&root, &state));
    for secret in ["hunter22", "0ldpass", "n3wpass"] {
        assert!(!all.contains(secret), "{secret} shows in {all}");
    }
    // What is remembered is for root's eyes.
    let memory = root.path("/var/lib/hapair/last.json");
    assert_eq!(fs::metadata(&memory).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn what_hapair_has_no_opinion_on_is_named_and_kept_until_an_apply_changes_something() {
    let (_dir, root) = prepared(&[]);
    fs::write(root.path("/etc/app/edited"), "OTHER=1\n").unwrap();
    let edit = |value: &str| Spec::Edit {
        path: "/etc/app/edited".into(),
        edits: vec![Edit::Assign {
            key: "KEY".into(),
            value: Some(value.into()),
        }],
        create: None,
        mode: 0o644,
        validator: None,
    };
    let with = |value: &str, word: &str| {
        state(vec![
            resource("edited", Stage::Hostname, edit(value)),
            text("/etc/app/file", word),
        ])
    };
    let first = with("new", "one\n");
    applied(&root, &first, "t1");
    fs::write(root.path("/etc/app/edited"), "OTHER=2\nKEY=new\n").unwrap();
    let found = only(drift(&root, &first));
    assert_eq!((found.remedy, found.what.as_str()), (Remedy::Keeps, "1 line changed"));
    assert!(found.account().ends_with("; apply keeps it"), "{}", found.account());
    assert!(look(&root, &first).is_empty());
    // Our own key changed by hand: put right, and the rest kept.
    fs::write(root.path("/etc/app/edited"), "OTHER=2\nKEY=odd\n").unwrap();
    assert_eq!(only(drift(&root, &first)).remedy, Remedy::PutsRight);
    applied(&root, &with("new", "two\n"), "t2");
    assert_eq!(
        fs::read_to_string(root.path("/etc/app/edited")).unwrap(),
        "OTHER=2\nKEY=new\n"
    );
    assert!(drift(&root, &with("new", "two\n")).is_empty());
}

#[test]
fn an_apply_of_other_stages_does_not_take_it_for_its_own_work() {
    let (_dir, root) = prepared(&[]);
    let both = |word: &str| {
        state(vec![
            resource(
                "early",
                Stage::Hostname,
                text_file("/etc/app/early", Content::Text(word.into()), 0o644),
            ),
            text("/etc/app/late", "late\n"),
        ])
    };
    applied(&root, &both("one\n"), "t1");
    fs::write(root.path("/etc/app/late"), "by hand\n").unwrap();
    let txn = Txn::new(&root, &TxnId::new("t2").unwrap());
    let request = Stored {
        state: both("two\n"),
        stages: vec![Stage::Hostname],
        confirm_timeout: 5,
        operator: "test".into(),
        back: None,
    };
    request.store(&txn).unwrap();
    let journal = Journal::open(&txn, &[]).unwrap();
    execute(&root, &txn, &request, journal).unwrap();
    assert_eq!(fs::read_to_string(root.path("/etc/app/early")).unwrap(), "two\n");
    let found = only(drift(&root, &both("two\n")));
    assert_eq!(
        (found.resource.as_str(), found.transaction.as_str()),
        ("/etc/app/late", "t1")
    );
}

#[test]
fn what_a_killed_transaction_left_is_hapairs_own_work() {
    let (_dir, root) = prepared(&[]);
    let with = |word: &str| state(vec![text("/etc/app/file", word)]);
    applied(&root, &with("one\n"), "20261122T164512Z-3f9a-1");
    let remembered = fs::read(root.path("/var/lib/hapair/last.json")).unwrap();
    let second = "20261122T164512Z-3f9a-2";
    applied(&root, &with("two\n"), second);
    // As if it had been killed after its last step.
    unfinish(&root, second);
    fs::write(root.path("/var/lib/hapair/last.json"), remembered).unwrap();
    let found = only(drift(&root, &with("one\n")));
    assert!(
        matches!(&found.by, Some(By::Hapair { what }) if what.contains(second)),
        "{found:?}"
    );
    assert!(found.account().contains("hapair itself"), "{}", found.account());
    fs::write(root.path("/etc/app/file"), "by hand\n").unwrap();
    let found = only(drift(&root, &with("one\n")));
    assert_eq!(found.by, Some(By::User { name: "root".into() }));
}

#[test]
fn a_program_is_compared_by_its_bytes_and_not_shown() {
    let (_dir, root) = prepared(&[]);
    let state = state(vec![resource(
        "program",
        Stage::Vrrp,
        text_file("/etc/app/program", Content::Executor, 0o755),
    )]);
    applied(&root, &state, "t1");
    assert!(drift(&root, &state).is_empty());
    fs::write(root.path("/etc/app/program"), "#!/bin/sh\n").unwrap();
    let found = only(drift(&root, &state));
    assert_eq!((found.what.as_str(), found.diff), ("content changed", None));
}

#[test]
fn what_an_earlier_version_remembered_otherwise_is_no_drift() {
    let (_dir, root) = prepared(&[]);
    let state = state(vec![text("/etc/app/file", "one\n")]);
    applied(&root, &state, "t1");
    fs::write(
        root.path("/var/lib/hapair/last.json"),
        r#"{"/etc/app/file":"0123abcd"}"#,
    )
    .unwrap();
    assert!(drift(&root, &state).is_empty());
    applied(&root, &state, "t2");
    fs::write(root.path("/etc/app/file"), "by hand\n").unwrap();
    assert_eq!(only(drift(&root, &state)).transaction.as_str(), "t2");
}

#[test]
fn what_is_too_long_to_be_kept_is_seen_and_not_shown() {
    let (_dir, root) = prepared(&[]);
    let long = "x\n".repeat(200_000);
    let state = state(vec![text("/etc/app/long", &long)]);
    applied(&root, &state, "t1");
    // Too long to be kept: known to differ, not shown.
    fs::write(root.path("/etc/app/long"), format!("{long}by hand\n")).unwrap();
    let found = only(drift(&root, &state));
    assert_eq!((found.what.as_str(), found.diff), ("content changed", None));
    assert!(fs::metadata(root.path("/var/lib/hapair/last.json")).unwrap().len() < 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_drifts_by_itself_and_whatever_a_hand_does_is_seen(
        befores in prop::collection::vec(before(), PATHS.len()),
        hand in prop::collection::vec((0..PATHS.len(), before()), 1..4),
    ) {
        let (_dir, root) = prepared(&befores);
        let state = state(everything());
        applied(&root, &state, "t1");
        prop_assert!(drift(&root, &state).is_empty(), "{:?}", drift(&root, &state));
        let left = tree(&root);
        for (n, what) in &hand {
            let path = root.path(PATHS[*n]);
            if path.symlink_metadata().is_ok() {
                fs::remove_file(&path).unwrap();
            }
            lay(&root, PATHS[*n], what);
        }
        let planned = look(&root, &state);
        // Whatever an apply would change was changed by the hand, and is named.
        for change in &planned.changes {
            prop_assert!(planned.drift.iter().any(|d| d.resource == change.resource), "{:?} {:?}", change, planned.drift);
        }
        for found in &planned.drift {
            let right = planned.changes.iter().any(|c| c.resource == found.resource);
            prop_assert_eq!(found.remedy == Remedy::PutsRight, right, "{:?}", found);
        }
        prop_assert!(planned.drift.is_empty() || tree(&root) != left, "{:?}", planned.drift);
        prop_assert!(!format!("{planned:?}").contains("hunter22"), "a secret shows");
        applied(&root, &state, "t2");
        prop_assert!(drift(&root, &state).iter().all(|d| d.remedy == Remedy::Keeps));
    }
}

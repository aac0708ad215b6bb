//! Transactions over a directory that stands for a host: whatever the files were, an apply makes them as desired, a
//! second plan is empty, and a failure puts back every byte, mode and link.
#![cfg(feature = "agent")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use hapair::host::facts::Tools;
use hapair::host::root::Root;
use hapair::host::serve::plan;
use hapair::host::txn::{Journal, Stored, Tail, Txn, execute};
use hapair::state::edit::Edit;
use hapair::state::resource::{Content, HostState, Resource, Spec, Stage};
use hapair::state::{EventKind, Outcome, OutcomeKind, Secret, SelinuxMode, TxnId};
use proptest::prelude::*;

/// A host with accounts that the test may give files to.
fn host() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    for path in ["etc/app", "etc/selinux", "run", "var/lib"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    let own = fs::metadata(dir.path()).unwrap();
    fs::write(
        dir.path().join("etc/passwd"),
        format!("root:x:{}:{}::/:/bin/sh\n", own.uid(), own.gid()),
    )
    .unwrap();
    fs::write(dir.path().join("etc/group"), format!("root:x:{}:\n", own.gid())).unwrap();
    let root = Root::at(dir.path());
    (dir, root)
}

fn resource(id: &str, stage: Stage, spec: Spec) -> Resource {
    Resource {
        id: id.into(),
        stage,
        spec,
        reactions: vec![],
        cuts_ssh: false,
        election_critical: false,
    }
}

fn text_file(path: &str, content: Content, mode: u32) -> Spec {
    Spec::File {
        path: path.into(),
        content,
        mode,
        owner: "root".into(),
        group: "root".into(),
        validator: None,
    }
}

fn state(resources: Vec<Resource>) -> HostState {
    HostState {
        host: "a".into(),
        resources,
        secrets: vec![Secret::new("hunter22")],
        ..HostState::default()
    }
}

fn look(root: &Root, state: &HostState) -> hapair::state::Plan {
    plan(root, state, &mut Tools::default(), false)
}

fn apply(root: &Root, state: &HostState, id: &str, cancel: bool) -> (Outcome, Vec<EventKind>) {
    let txn = Txn::new(root, &TxnId::new(id).unwrap());
    let stages = vec![Stage::Selinux, Stage::Hostname, Stage::Nginx, Stage::Vrrp];
    let request = Stored {
        state: state.clone(),
        stages,
        confirm_timeout: 5,
        operator: "test".into(),
    };
    request.store(&txn).unwrap();
    if cancel {
        txn.mark("cancel").unwrap();
    }
    let journal = Journal::open(&txn.file("journal"), &state.secrets).unwrap();
    execute(root, &txn, &request, journal).unwrap();
    let events: Vec<EventKind> = Tail::new(&txn.file("journal"), 0)
        .read()
        .into_iter()
        .map(|e| e.kind)
        .collect();
    match events.last() {
        Some(EventKind::Finished { outcome }) => (outcome.clone(), events),
        other => panic!("the journal ends with {other:?}"),
    }
}

/// Everything under /etc: content or link, mode.
fn tree(root: &Root) -> BTreeMap<String, (Vec<u8>, u32)> {
    fn walk(at: &Path, out: &mut BTreeMap<String, (Vec<u8>, u32)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
                    .into_bytes()
            } else if meta.is_dir() {
                walk(&path, out);
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            out.insert(
                path.to_string_lossy().into_owned(),
                (content, meta.permissions().mode()),
            );
        }
    }
    let mut out = BTreeMap::new();
    walk(&root.path("/etc"), &mut out);
    out
}

/// One of each kind that needs no running system.
fn everything() -> Vec<Resource> {
    let assign = |key: &str, value: &str| Edit::Assign {
        key: key.into(),
        value: Some(value.into()),
    };
    vec![
        resource(
            "selinux",
            Stage::Selinux,
            Spec::Selinux {
                mode: SelinuxMode::Disabled,
            },
        ),
        resource(
            "edit",
            Stage::Hostname,
            Spec::Edit {
                path: "/etc/app/edited".into(),
                edits: vec![assign("KEY", "new")],
                create: Some("# fresh\n".into()),
                mode: 0o644,
                validator: None,
            },
        ),
        resource(
            "not there",
            Stage::Hostname,
            Spec::Edit {
                path: "/etc/app/never".into(),
                edits: vec![assign("KEY", "new")],
                create: None,
                mode: 0o644,
                validator: None,
            },
        ),
        resource(
            "directory",
            Stage::Nginx,
            Spec::Directory {
                path: "/etc/app/deep".into(),
                mode: 0o750,
            },
        ),
        resource(
            "file",
            Stage::Nginx,
            text_file("/etc/app/deep/er/file", Content::Text("wanted\n".into()), 0o640),
        ),
        resource(
            "secret",
            Stage::Nginx,
            text_file(
                "/etc/app/secret",
                Content::Secret(Secret::new("pass hunter22\n")),
                0o600,
            ),
        ),
        resource(
            "absent",
            Stage::Vrrp,
            Spec::Absent {
                path: "/etc/app/stale".into(),
                validator: None,
            },
        ),
        resource(
            "repositories",
            Stage::Vrrp,
            Spec::RepositoriesSetAside {
                directory: "/etc/app".into(),
                keep: vec!["own.repo".into()],
            },
        ),
    ]
}

/// What may be at a path before.
#[derive(Debug, Clone)]
enum Before {
    Nothing,
    File(String, u32),
    Link,
}

fn before() -> impl Strategy<Value = Before> {
    prop_oneof![
        Just(Before::Nothing),
        (
            "[a-zK]{0,4}(\nKEY=[a-z]{0,3}\n)?",
            prop_oneof![Just(0o644), Just(0o600), Just(0o755)]
        )
            .prop_map(|(text, mode)| Before::File(text, mode)),
        Just(Before::Link),
    ]
}

fn lay(root: &Root, path: &str, before: &Before) {
    let at = root.path(path);
    match before {
        Before::Nothing => {}
        Before::File(text, mode) => {
            fs::write(&at, text).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Before::Link => std::os::unix::fs::symlink("own.repo", &at).unwrap(),
    }
}

const PATHS: [&str; 6] = [
    "/etc/app/edited",
    "/etc/app/secret",
    "/etc/app/stale",
    "/etc/app/old.repo",
    "/etc/app/old.repo.bak",
    "/etc/selinux/config",
];

fn prepared(befores: &[Before]) -> (tempfile::TempDir, Root) {
    let (dir, root) = host();
    fs::write(root.path("/etc/app/own.repo"), "[own]\nname=own\n").unwrap();
    for (path, before) in PATHS.iter().zip(befores) {
        lay(&root, path, before);
    }
    (dir, root)
}

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
    fn a_failure_puts_everything_back(befores in prop::collection::vec(before(), PATHS.len())) {
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

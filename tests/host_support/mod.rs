//! A directory that stands for a host, and what tests do to it.
#![allow(dead_code, unused_imports)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub(crate) use hapair::host::observe::tools::Tools;
pub(crate) use hapair::host::os::root::Root;
use hapair::host::record::journal::Journal;
use hapair::host::record::request::Stored;
use hapair::host::record::tail::Tail;
use hapair::host::record::txn::Txn;
use hapair::host::serve::plan::plan;
pub(crate) use hapair::host::transaction::runner::execute;
use hapair::state::edit::Edit;
use hapair::state::resource::{Content, HostState, Resource, Spec, Stage};
pub(crate) use hapair::state::{EventKind, Outcome};
use hapair::state::{Secret, SelinuxMode, TxnId};
use proptest::prelude::*;

/// A host with accounts that the test may give files to.
pub(crate) fn host() -> (tempfile::TempDir, Root) {
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

pub(crate) fn resource(id: &str, stage: Stage, spec: Spec) -> Resource {
    Resource {
        id: id.into(),
        stage,
        spec,
        reactions: vec![],
        cuts_ssh: false,
        election_critical: false,
    }
}

pub(crate) fn text_file(path: &str, content: Content, mode: u32) -> Spec {
    Spec::File {
        path: path.into(),
        content,
        mode,
        owner: "root".into(),
        group: "root".into(),
        validator: None,
    }
}

pub(crate) fn state(resources: Vec<Resource>) -> HostState {
    HostState {
        host: "a".into(),
        resources,
        secrets: vec![Secret::new("hunter22")],
        ..HostState::default()
    }
}

pub(crate) fn look(root: &Root, state: &HostState) -> hapair::state::Plan {
    plan(root, state, &mut Tools::default(), false)
}

pub(crate) fn apply(root: &Root, state: &HostState, id: &str, cancel: bool) -> (Outcome, Vec<EventKind>) {
    let txn = Txn::new(root, &TxnId::new(id).unwrap());
    let stages = vec![Stage::Selinux, Stage::Hostname, Stage::Nginx, Stage::Vrrp];
    let request = Stored {
        state: state.clone(),
        stages,
        confirm_timeout: 5,
        operator: "test".into(),
        back: None,
    };
    request.store(&txn).unwrap();
    if cancel {
        txn.mark("cancel").unwrap();
    }
    let journal = Journal::open(&txn, &state.secrets).unwrap();
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

/// Everything under /etc: content or link with owner and group, mode.
pub(crate) fn tree(root: &Root) -> BTreeMap<String, (Vec<u8>, u32)> {
    fn walk(at: &Path, out: &mut BTreeMap<String, (Vec<u8>, u32)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut content = if meta.is_symlink() {
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
            content.extend(format!(" {}:{}", meta.uid(), meta.gid()).bytes());
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
pub(crate) fn everything() -> Vec<Resource> {
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
            text_file("/etc/app/secret", Content::Text("pass hunter22\n".into()), 0o600),
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
pub(crate) enum Before {
    Nothing,
    File(String, u32),
    Link,
}

pub(crate) fn before() -> impl Strategy<Value = Before> {
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

pub(crate) fn lay(root: &Root, path: &str, before: &Before) {
    let at = root.path(path);
    match before {
        Before::Nothing => {}
        Before::File(text, mode) => {
            fs::write(&at, text).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(*mode)).unwrap();
            if nix::unistd::geteuid().is_root() {
                // Somebody else's.
                std::os::unix::fs::chown(&at, Some(7), Some(9)).unwrap();
            }
        }
        Before::Link => std::os::unix::fs::symlink("own.repo", &at).unwrap(),
    }
}

pub(crate) const PATHS: [&str; 5] = [
    "/etc/app/edited",
    "/etc/app/secret",
    "/etc/app/old.repo",
    "/etc/app/old.repo.bak",
    "/etc/selinux/config",
];

/// How a transaction ended, by its journal.
pub(crate) fn outcome_of(txn: &Txn) -> Outcome {
    match Tail::new(&txn.file("journal"), 0).read().pop().map(|e| e.kind) {
        Some(EventKind::Finished { outcome }) => outcome,
        other => panic!("the journal ends with {other:?}"),
    }
}

/// As if a transaction had been killed after its last step: its journal has no end.
pub(crate) fn unfinish(root: &Root, id: &str) {
    let journal = root.path(&format!("/var/lib/hapair/txn/{id}/journal"));
    let text = fs::read_to_string(&journal).unwrap();
    let kept: Vec<&str> = text.lines().filter(|l| !l.contains("\"finished\"")).collect();
    fs::write(&journal, format!("{}\n", kept.join("\n"))).unwrap();
}

pub(crate) fn prepared(befores: &[Before]) -> (tempfile::TempDir, Root) {
    let (dir, root) = host();
    fs::write(root.path("/etc/app/own.repo"), "[own]\nname=own\n").unwrap();
    for (path, before) in PATHS.iter().zip(befores) {
        lay(&root, path, before);
    }
    (dir, root)
}

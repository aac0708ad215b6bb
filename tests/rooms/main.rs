//! The arrows between the rooms go one way (a room may use only those listed for it), and no files use each other in a circle.

mod circles;
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use circles::circles;
use imports::Sources;

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Room to the rooms right below it: it may use these, and what they may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("state", &[]),
    ("vrrp", &[]),
    ("keepalived", &[]),
    ("inventory", &["state", "keepalived"]),
    ("payload", &["state", "keepalived"]),
    ("desired", &["payload", "inventory"]),
    ("remote", &["payload", "inventory"]),
    ("probe", &["payload", "inventory"]),
    ("rollout", &["remote", "probe", "desired"]),
    ("drill", &["remote", "probe", "desired"]),
    ("lab", &["remote", "probe", "desired"]),
    ("cli", &["rollout", "drill", "lab"]),
    ("agent", &["keepalived", "vrrp", "state"]),
    ("host", &["agent"]),
];

/// Whether a room may use another one.
fn may_use(from: &str, to: &str) -> bool {
    let (_, below) = ARROWS.iter().find(|(room, _)| *room == from).expect("a known room");
    below.iter().any(|room| *room == to || may_use(room, to))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable source folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every file to the files that it uses.
fn arrows() -> &'static BTreeMap<String, BTreeSet<String>> {
    static ARROWS: OnceLock<BTreeMap<String, BTreeSet<String>>> = OnceLock::new();
    ARROWS.get_or_init(|| Sources::read(&src()).arrows())
}

/// The room of a file below `src`; the files beside the rooms have none.
fn room(path: &str) -> Option<&str> {
    path.split_once('/').map(|(room, _)| room)
}

#[test]
fn arrows_between_rooms_go_one_way() {
    let mut wrong = Vec::new();
    for (file, used) in arrows() {
        let Some(from) = room(file) else { continue };
        for to in used {
            match room(to) {
                Some(room) if room == from || may_use(from, room) => {}
                _ => wrong.push(format!("{file} uses {to}")),
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows:\n{}", wrong.join("\n"));
}

/// The floors of the rooms that have rooms of their own, lowest first: folders, or files without `.rs`; `*` is what is not named.
/// Faces (`mod.rs`) stand above all floors.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "host",
        &[
            &["os"],
            &["record"],
            &["observe"],
            &["resource"],
            &["control"],
            &["change"],
            &["report"],
            &["preflight"],
            &["transaction"],
            &["serve"],
            &["*"],
        ],
    ),
    (
        "agent",
        &[
            &["os"],
            &["net"],
            &["track", "tell"],
            &["config", "notes", "plan"],
            &["engine"],
            &["*"],
        ],
    ),
    (
        "rollout",
        &[&["error"], &["interrupt", "progress"], &["reach"], &["health"], &["*"]],
    ),
];

/// Room, and the folder or file in it.
fn room_and_part(path: &str) -> Option<(&str, &str)> {
    let (room, rest) = path.split_once('/')?;
    let part = rest.split_once('/').map_or(rest, |(folder, _)| folder);
    Some((room, part.trim_end_matches(".rs")))
}

#[test]
fn a_floor_uses_only_those_below() {
    let mut wrong = Vec::new();
    for (room, floors) in FLOORS {
        let floor = |part: &str| {
            let named = floors.iter().position(|floor| floor.contains(&part));
            let rest = floors.iter().position(|floor| floor.contains(&"*"));
            named.or(rest).expect("a floor for what is not named")
        };
        for (file, used) in arrows() {
            let Some((_, from)) = room_and_part(file).filter(|(r, part)| r == room && *part != "mod") else {
                continue;
            };
            let parts = used.iter().filter_map(|to| room_and_part(to).map(|part| (to, part)));
            for (to, (_, part)) in parts.filter(|(_, (r, _))| r == room) {
                // What is not named has no order of its own.
                let same = part == from || floors[floor(from)].contains(&"*");
                if floor(part) > floor(from) || (floor(part) == floor(from) && !same) {
                    wrong.push(format!("{file} uses {to}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles = circles(arrows());
    let shown: Vec<String> = circles.iter().map(|files| files.join(" ")).collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), shown.join("\n"));
}

#[test]
fn every_folder_of_src_is_a_known_room() {
    for entry in fs::read_dir(src())
        .expect("src")
        .flatten()
        .filter(|e| e.path().is_dir())
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name == "bin" || ARROWS.iter().any(|(room, _)| *room == name),
            "no arrows are defined for `{name}`"
        );
    }
}

#[test]
fn only_the_command_line_prints_or_exits() {
    let src = src();
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let shown = file.strip_prefix(&src).unwrap_or(&file).to_string_lossy().into_owned();
        if shown.starts_with("cli/") || shown == "main.rs" || shown.starts_with("bin/") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable source");
        for word in ["println!", "print!", "eprintln!", "eprint!", "process::exit("] {
            // Tests inside a module may print.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if code
                .lines()
                .any(|l| !l.trim_start().starts_with("//") && l.contains(word))
            {
                wrong.push(format!("{shown} has `{word}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

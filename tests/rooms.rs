//! The arrows between the rooms go one way (a room may use only those listed for it).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Room to the rooms it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("state", &[]),
    ("vrrp", &[]),
    ("keepalived", &[]),
    ("inventory", &["state", "keepalived"]),
    ("payload", &["state", "keepalived"]),
    ("desired", &["payload", "inventory", "state", "keepalived"]),
    ("remote", &["payload", "inventory", "state", "keepalived"]),
    ("probe", &["payload", "inventory", "state", "keepalived"]),
    (
        "rollout",
        &[
            "remote",
            "probe",
            "desired",
            "payload",
            "inventory",
            "state",
            "keepalived",
        ],
    ),
    (
        "drill",
        &[
            "remote",
            "probe",
            "desired",
            "payload",
            "inventory",
            "state",
            "keepalived",
        ],
    ),
    (
        "lab",
        &[
            "remote",
            "probe",
            "desired",
            "payload",
            "inventory",
            "state",
            "keepalived",
        ],
    ),
    ("host", &["agent", "keepalived", "vrrp", "state"]),
    ("agent", &["keepalived", "vrrp", "state"]),
    (
        "cli",
        &[
            "rollout",
            "drill",
            "lab",
            "remote",
            "probe",
            "desired",
            "payload",
            "inventory",
            "state",
            "keepalived",
        ],
    ),
];

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

/// The rooms named after every `crate::` of a source text, also inside braces and over several lines.
fn rooms_used(text: &str, rooms: &[&str]) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut used = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group
                .split('}')
                .next()
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
                .collect(),
            None => vec![rest],
        };
        for name in names {
            let word: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if rooms.contains(&word.as_str()) {
                used.push(word);
            }
        }
    }
    used
}

#[test]
fn arrows_between_rooms_go_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let rooms: Vec<&str> = arrows.keys().copied().collect();
    let mut wrong = Vec::new();
    for (room, allowed) in &arrows {
        let mut files = Vec::new();
        rust_files(&src.join(room), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("readable source");
            for used in rooms_used(&text, &rooms) {
                if used != *room && !allowed.contains(&used.as_str()) {
                    wrong.push(format!(
                        "{} uses `{used}`",
                        file.strip_prefix(&src).unwrap_or(&file).display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_src_is_a_known_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).expect("src").flatten().filter(|e| e.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            name == "bin" || ARROWS.iter().any(|(room, _)| *room == name),
            "no arrows are defined for `{name}`"
        );
    }
}

#[test]
fn only_the_command_line_prints_or_exits() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
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

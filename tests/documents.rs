//! The documents: every relative link in them leads somewhere, headings included, and the README stays short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where documents are, beside the top level.
const FOLDERS: [&str; 3] = ["src", "tests", "benches"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let top = fs::read_dir(root()).expect("readable project").flatten();
    let mut found: Vec<PathBuf> = top.map(|e| e.path()).filter(|p| is_document(p)).collect();
    for folder in FOLDERS {
        below(&root().join(folder), &mut found);
    }
    found
}

fn below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable folder").flatten() {
        // A link may lead to a tree without an end.
        let kind = entry.file_type().expect("kind of an entry");
        if kind.is_dir() {
            below(&entry.path(), found);
        } else if kind.is_file() && is_document(&entry.path()) {
            found.push(entry.path());
        }
    }
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "md")
}

/// The text without its fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Targets of `[text](target)`.
fn links(prose: &str) -> Vec<String> {
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The names that a renderer gives to the headings: lower case, `-` for blanks, no other punctuation.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// What is wrong with a link of a document, if anything.
fn broken(document: &Path, own: &BTreeSet<String>, link: &str) -> Option<&'static str> {
    if link.starts_with("http://") || link.starts_with("https://") {
        return None;
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = document.parent().expect("a folder").join(path);
    if !path.is_empty() && !target.exists() {
        return Some("leads to nothing");
    }
    let known = match path {
        _ if heading.is_empty() => return None,
        "" => own.contains(heading),
        _ => anchors(&prose(&fs::read_to_string(&target).expect("readable document"))).contains(heading),
    };
    (!known).then_some("names no heading there")
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).expect("readable document"));
        let own = anchors(&text);
        for link in links(&text) {
            seen += 1;
            if let Some(why) = broken(&document, &own, &link) {
                let shown = document.strip_prefix(root()).unwrap_or(&document).display();
                wrong.push(format!("{shown}: {link} {why}"));
            }
        }
    }
    assert!(seen > 30, "only {seen} links were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_broken_link_is_noticed() {
    let here = root().join("README.md");
    let own = anchors("# One two\n## Who's `there`?\n");
    assert_eq!(links("see [a](b.md) and [c](#d), not (e)"), ["b.md", "#d"]);
    for fine in [
        "https://example.com/x",
        "src/README.md",
        "#one-two",
        "#whos-there",
        "templates",
    ] {
        assert_eq!(broken(&here, &own, fine), None, "{fine}");
    }
    assert_eq!(broken(&here, &own, "no/such.md"), Some("leads to nothing"));
    assert_eq!(broken(&here, &own, "#two"), Some("names no heading there"));
    assert_eq!(broken(&here, &own, "src/README.md#two"), Some("names no heading there"));
}

#[test]
fn the_readme_is_for_newcomers() {
    let lines = fs::read_to_string(root().join("README.md"))
        .expect("README")
        .lines()
        .count();
    assert!(
        lines <= 200,
        "{lines} lines: references belong beside what they describe"
    );
}

#[test]
#[cfg(feature = "cli")]
fn every_finding_is_described() {
    let text = fs::read_to_string(root().join("src/cli/README.md")).expect("the commands' document");
    for id in hapair::state::FindingId::ALL {
        assert!(text.contains(&format!("`{id}`")), "{id} is not described");
    }
}

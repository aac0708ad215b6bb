//! The edit engine: golden cases as data (`tests/host/edit/*.json`), and properties over arbitrary files.
//!
//! `HAPAIR_UPDATE_GOLDEN=1` rewrites the `after` of every case.

use std::path::PathBuf;

use hapair::state::edit::{Edit, apply};
use proptest::prelude::*;

#[derive(serde::Serialize, serde::Deserialize)]
struct Case {
    why: String,
    before: String,
    edits: Vec<Edit>,
    after: String,
}

#[test]
fn golden_cases() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/host/edit");
    let mut seen = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let mut case: Case = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let after = apply(&case.before, &case.edits);
        if std::env::var_os("HAPAIR_UPDATE_GOLDEN").is_some() {
            case.after = after;
            std::fs::write(&path, serde_json::to_string_pretty(&case).unwrap() + "\n").unwrap();
        } else {
            assert_eq!(after, case.after, "{}: {}", path.display(), case.why);
            assert_eq!(apply(&after, &case.edits), after, "{}: twice is once", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 10, "the cases are not where they were");
}

/// Lines as they occur in such files, among them what the edits look for.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-C]=[a-z0-9]{0,3}",
        "#[ A-C=]{0,5}",
        Just(String::new()),
        "\\[(s|t)\\]",
        "[ \t]{1,2}[a-c]=[0-9]",
        "[a-c] ?= ?[0-9]{0,2}",
        "10\\.0\\.0\\.[12][ \t]+[m-p]( [m-p]){0,2}( # [a-z]+)?",
        "# (BEGIN|END) hapair (u|v)",
        "\\PC{0,12}",
    ]
}

fn file() -> impl Strategy<Value = String> {
    (prop::collection::vec(line(), 0..12), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join("\n");
        if ended && !text.is_empty() {
            text.push('\n');
        }
        text
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    let value = || prop::option::of("[a-z0-9]{1,3}");
    prop_oneof![
        ("[A-C]", value()).prop_map(|(key, value)| Edit::Assign { key, value }),
        ("(s|t|w)", "[a-c]", value()).prop_map(|(section, key, value)| Edit::Ini { section, key, value }),
        (
            "10\\.0\\.0\\.[12]",
            prop::collection::btree_set("[m-p]", 0..3),
            prop::collection::vec("[m-p]", 0..2)
        )
            .prop_map(|(address, names, remove)| Edit::Hosts {
                address,
                names: names.into_iter().collect(),
                remove
            }),
        ("(u|v)", prop::collection::vec("[x-z]{1,4}", 0..3)).prop_map(|(name, lines)| Edit::Block { name, lines }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn twice_is_once(text in file(), edit in edit()) {
        let once = apply(&text, std::slice::from_ref(&edit));
        prop_assert_eq!(apply(&once, &[edit]), once);
    }

    #[test]
    fn an_assignment_touches_only_its_key(text in file(), value in prop::option::of("[a-z]{1,3}")) {
        let others = |text: &str| {
            text.lines().filter(|l| !l.starts_with("B=")).map(str::to_owned).collect::<Vec<_>>()
        };
        let edited = apply(&text, &[Edit::Assign { key: "B".into(), value: value.clone() }]);
        prop_assert_eq!(others(&edited), others(&text));
        let own: Vec<&str> = edited.lines().filter(|l| l.starts_with("B=")).collect();
        let wanted: Vec<String> = value.iter().map(|v| format!("B={v}")).collect();
        prop_assert_eq!(own, wanted);
    }

    #[test]
    fn hosts_leave_other_addresses_alone(text in file(), names in prop::collection::btree_set("[m-p]", 1..3)) {
        let names: Vec<String> = names.into_iter().collect();
        let edit = Edit::Hosts { address: "10.0.0.1".into(), names: names.clone(), remove: vec![] };
        let edited = apply(&text, &[edit]);
        let others = |text: &str| {
            text.lines().filter(|l| l.split_whitespace().next() != Some("10.0.0.1")).map(str::to_owned).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&edited), others(&text));
        let first = edited.lines().find(|l| l.split_whitespace().next() == Some("10.0.0.1")).unwrap();
        let data = first.split('#').next().unwrap();
        for name in &names {
            prop_assert!(data.split_whitespace().any(|w| w == name), "{} in {}", name, first);
        }
    }

    #[test]
    fn a_block_can_be_taken_out_again(text in file(), lines in prop::collection::vec("[x-z]{1,4}", 1..3)) {
        // Appending closes an unterminated last line for good.
        let text = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
        let with = apply(&text, &[Edit::Block { name: "q".into(), lines }]);
        let without = apply(&with, &[Edit::Block { name: "q".into(), lines: vec![] }]);
        prop_assert_eq!(without, text);
    }
}

//! Whole states: against the golden files, and against the rules of resources.

use super::cases::CASES;
use super::dump::dump;
use super::*;

#[test]
fn states_are_as_in_the_golden_files() {
    for case in CASES {
        let inventory = load(case.name);
        let state = state(&inventory, case.host, &(case.facts)(&inventory, case.host));
        check_golden(case.name, case.file, &dump(&state));
    }
}

#[test]
fn states_keep_the_rules_of_resources() {
    for case in CASES {
        let inventory = load(case.name);
        let facts = (case.facts)(&inventory, case.host);
        let one = state(&inventory, case.host, &facts);
        assert_eq!(
            one,
            state(&inventory, case.host, &facts),
            "{}: not a function of its arguments",
            case.file
        );
        let ids: BTreeSet<&str> = one.resources.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids.len(), one.resources.len(), "{}: an id occurs twice", case.file);
        assert!(
            one.resources.is_sorted_by_key(|r| r.stage),
            "{}: a stage goes backwards",
            case.file
        );
        for resource in &one.resources {
            // Only root may read a file with a secret in it, and showing the files shows no secret.
            if let Spec::File {
                content: Content::Text(text),
                mode,
                path,
                ..
            } = &resource.spec
            {
                let holds = one
                    .secrets
                    .iter()
                    .any(|s| text.contains(&format!("auth_pass {}", s.reveal())));
                assert!(!holds || mode & 0o077 == 0, "{path} has a secret and mode {mode:o}");
                assert!(
                    !text.contains("\n\n\n") && !text.contains(" \n"),
                    "{path}: template white space:\n{text}"
                );
                assert!(
                    text.ends_with('\n') && !text.ends_with("\n\n"),
                    "{path}: ends {:?}",
                    text.lines().last()
                );
            }
        }
        for file in desired::files(&one) {
            let holds = one
                .secrets
                .iter()
                .any(|s| file.content.contains(&format!("auth_pass {}", s.reveal())));
            assert!(
                !holds || file.mode & 0o077 == 0,
                "{} has a secret and mode {:o}",
                file.path,
                file.mode
            );
        }
    }
}

#[test]
fn a_created_file_is_what_its_edits_want() {
    for case in CASES {
        let inventory = load(case.name);
        let facts = (case.facts)(&inventory, case.host);
        // Edits of an existing profile keep its spelling, which a created one would not have.
        if facts.interfaces.iter().any(|i| i.profile.is_some()) {
            continue;
        }
        for resource in &state(&inventory, case.host, &facts).resources {
            let (create, edits) = match &resource.spec {
                Spec::Edit {
                    create: Some(create),
                    edits,
                    ..
                } => (create, edits),
                Spec::Network(spec) => (&spec.create, &spec.edits),
                _ => continue,
            };
            assert_eq!(&edit::apply(create, edits), create, "{}: {}", case.file, resource.id);
        }
    }
}

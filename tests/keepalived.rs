//! Every `tests/keepalived/NAME.conf` gives exactly the findings in `NAME.txt`; with `HAPAIR_UPDATE_GOLDEN=1` they are rewritten.

use std::path::Path;

use hapair::keepalived::{Options, Severity, lint};

#[test]
fn golden_diagnostics() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived");
    let update = std::env::var_os("HAPAIR_UPDATE_GOLDEN").is_some();
    let mut names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().ok())
        .filter(|n| n.ends_with(".conf"))
        .collect();
    names.sort();
    assert!(names.len() >= 8, "the golden files are missing");
    let mut wrong = Vec::new();
    for name in names {
        let text = std::fs::read_to_string(dir.join(&name)).unwrap();
        let options = Options {
            path: &name,
            config_id: "node1",
            instance: "node1",
            ..Options::default()
        };
        let (_, found) = lint(&text, &options);
        let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
        let warnings = found.iter().filter(|d| d.severity == Severity::Warning).count();
        let mut got: String = found.iter().map(|d| format!("{d}\n")).collect();
        got.push_str(&format!("{errors} errors, {warnings} warnings\n"));
        let golden = dir.join(name.replace(".conf", ".txt"));
        if update {
            std::fs::write(&golden, &got).unwrap();
        }
        let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("{name}:\n--- wanted\n{wanted}--- got\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Templates of the operator's own.

use super::*;

#[test]
fn an_operator_template_takes_the_place_of_ours() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("etc/systemd/system/hapair-agent.service.tera");
    std::fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
    std::fs::write(&file, "[Service]\n# instead of {{ other_engine }}\nRestart=always\n").expect("a template");
    let templates = Templates::with_overrides(dir.path()).expect("templates");
    let inventory = load("example-el7");
    let facts = fresh(&inventory, "nginx-master", 7);
    let state = desired::host_state(&inventory, "nginx-master", &facts, &templates, &secrets(&inventory)).unwrap();
    let files = desired::files(&state);
    let ours = files
        .iter()
        .find(|f| f.path.ends_with("hapair-agent.service"))
        .expect("the unit");
    assert_eq!(
        ours.content,
        "[Service]\n# instead of keepalived.service\nRestart=always\n"
    );
}

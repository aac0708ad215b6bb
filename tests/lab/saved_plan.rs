//! A plan that was looked at is what is applied, or nothing is.

use std::os::unix::fs::PermissionsExt;

use crate::support::*;

#[test]
fn a_kept_plan_is_applied_once_and_only_while_nothing_moved() {
    // No password in the inventory: the plan generates one, and the apply must not generate another.
    let without = example_with(&[("      auth_pass: \"1111\"\n", "")]);
    let twins = Twins::up(&without);
    let file = twins.dir().join("night.plan");
    let name = file.to_str().expect("text");
    twins.hapair(&["plan", "--out", name]).expect(3);
    assert_eq!(
        std::fs::metadata(&file).expect("written").permissions().mode() & 0o077,
        0
    );

    // The host moves: refused, unharmed.
    twins.sh(BACKUP, "echo '# by hand' >> /etc/hosts");
    let before = HOSTS.map(|host| twins.fingerprint(host));
    twins
        .hapair(&["apply", name])
        .expect(1)
        .says("the host has changed since the plan was made")
        .says(BACKUP);
    assert!(before == HOSTS.map(|host| twins.fingerprint(host)));

    // Planned again: applied, without a question and without a terminal.
    twins.hapair(&["plan", "--out", name]).expect(3);
    twins.hapair(&["apply", name]).expect(0);
    twins.hapair(&["plan"]).expect(0);

    // Done is done, and another inventory is another plan.
    twins
        .hapair(&["apply", name])
        .expect(1)
        .says("the host has changed since the plan was made");
    twins.hapair(&["plan", "--out", name]).expect(0);
    twins.write(&without.replace("weight: -5", "weight: -7"));
    twins
        .hapair(&["apply", name])
        .expect(1)
        .says("the inventory, a template, or hapair itself");
}

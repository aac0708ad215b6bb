//! keepalived.conf as both engines read it.

use super::cases::CASES;
use super::*;

#[test]
fn our_own_reader_finds_no_error_in_what_we_write() {
    for case in CASES {
        let inventory = load(case.name);
        let state = state(&inventory, case.host, &(case.facts)(&inventory, case.host));
        let text = conf(&state);
        let (config, found) = keepalived::lint(&text, &options());
        let errors: Vec<_> = found
            .iter()
            .filter(|d| d.severity == keepalived::Severity::Error)
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}\n{text}", case.file);
        assert_eq!(config.instances.len(), state.instances.len());
    }
}

/// Without it, who sends a packet to a host from anywhere takes its VIP.
#[test]
fn keepalived_checks_the_source_of_unicast_where_its_version_can() {
    let render = |engine: Engine, unicast: bool, version: &str| {
        let mut inventory = load("managed-el9");
        let vrrp = inventory.vrrp.as_mut().expect("vrrp");
        vrrp.engine = engine;
        // What old versions do not know either.
        vrrp.scripts.clear();
        vrrp.instances.truncate(1);
        vrrp.instances[0].track_script.clear();
        vrrp.instances[0].unicast = unicast;
        let mut facts = fresh(&inventory, "lb1", 9);
        facts.keepalived_version = Some(version.to_owned());
        let state = state(&inventory, "lb1", &facts);
        let lines = conf(&state)
            .lines()
            .filter(|l| l.trim() == "vrrp_check_unicast_src")
            .count();
        let noted = state
            .notes
            .iter()
            .any(|n| n.contains("cannot check who sends it unicast adverts"));
        (lines, noted)
    };
    // 1.2.20 was the first.
    for version in ["1.2.20", "1.3.5", "2.1.5", "v2.2.8", "2.4"] {
        assert_eq!(render(Engine::Keepalived, true, version), (1, false), "{version}");
    }
    for version in ["1.2.13", "1.2.19"] {
        assert_eq!(render(Engine::Keepalived, true, version), (0, true), "{version}");
    }
    assert_eq!(render(Engine::Keepalived, false, "2.2.8"), (0, false));
    // The agent always does.
    assert_eq!(render(Engine::Agent, true, "1.2.13"), (0, false));
}

//! Signed adverts.

use super::*;

/// The example with signed adverts, for that engine.
fn signed(auth: &str, engine: &str) -> Inventory {
    let text = include_str!("../../inventory.example.yaml")
        .replace("auth_pass: \"1111\"", &format!("auth_hmac: {auth}"))
        .replace("engine: agent", &format!("engine: {engine}"));
    Inventory::parse(&text, Path::new("inventory.yaml")).unwrap_or_else(|e| panic!("{e}"))
}

fn signed_state(inventory: &Inventory, version: Option<&str>) -> Result<HostState, DesiredError> {
    let mut facts = fresh(inventory, "nginx-master", 9);
    facts.keepalived_version = version.map(str::to_owned);
    let mut secrets = Secrets::new();
    for id in [1, 2] {
        secrets.set_hmac_key("VI_1", id, Secret::new(format!("hex:{}", format!("a{id}").repeat(32))));
    }
    desired::host_state(inventory, "nginx-master", &facts, &Templates::embedded(), &secrets)
}

#[test]
fn signed_adverts_are_rendered_as_both_engines_read_them_and_the_key_is_masked() {
    let inventory = signed("{keys: [{id: 1}, {id: 2}], active_key: 2, mode: permissive}", "agent");
    let state = signed_state(&inventory, None).unwrap_or_else(|e| panic!("{e}"));
    let file = desired::files(&state)
        .into_iter()
        .find(|f| f.path == "/etc/keepalived/keepalived.conf")
        .expect("a configuration");
    assert_eq!(file.mode, 0o600);
    let (config, diagnostics) = keepalived::parse(&file.content, &keepalived::Options::default());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let instance = &config.instances[0];
    assert_eq!(instance.auth, None);
    let auth = instance.auth_hmac.as_ref().expect("signed");
    assert_eq!(
        auth.keys.iter().map(|k| (k.id, k.secret[0])).collect::<Vec<_>>(),
        [(1, 0xa1), (2, 0xa2)]
    );
    assert_eq!(
        (auth.active_key, auth.mode, auth.window),
        (2, keepalived::HmacMode::Permissive, Some(5))
    );
    for shown in [
        hapair::state::redact::redact(&file.content, &state.secrets),
        // As a host shows what it had before, which nobody told us.
        hapair::state::redact::redact(&file.content.replace("\n", "\n-"), &[]),
    ] {
        assert!(!shown.contains("a1a1") && !shown.contains("a2a2"), "{shown}");
        assert!(shown.contains("active_key 2"), "{shown}");
    }
    // Version 3 is signed as well, and nobody asks for a password.
    let mut v3 = signed("true", "agent");
    v3.vrrp.as_mut().expect("vrrp").instances[0].version = 3;
    assert!(signed_state(&v3, None).is_ok());
}

#[test]
fn a_keepalived_that_does_not_know_signed_adverts_is_refused() {
    let inventory = signed("true", "keepalived");
    for version in [None, Some("1.3.5"), Some("2.2.8"), Some("2.4"), Some("2.4.1")] {
        let error = signed_state(&inventory, version).expect_err("too old").to_string();
        assert!(error.contains("does not know auth_hmac"), "{error}");
    }
    for version in ["2.4.2", "2.4.3", "2.5", "v3.0.0"] {
        assert!(signed_state(&inventory, Some(version)).is_ok(), "{version}");
    }
    assert!(signed_state(&signed("true", "agent"), Some("2.2.8")).is_ok());
}

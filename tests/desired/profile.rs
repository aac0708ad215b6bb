//! Profiles of interfaces that are there already.

use super::cases::CASES;
use super::*;

/// The profile after its edits, and a check that nothing is left to edit then.
fn edited(inventory: &Inventory, host: &str, mut facts: Facts) -> String {
    let network = |facts: &Facts| {
        let state = state(inventory, host, facts);
        let found = state.resources.into_iter().find_map(|r| match r.spec {
            Spec::Network(spec) => Some(spec),
            _ => None,
        });
        found.expect("a network resource")
    };
    let old = facts.interfaces[0].profile.clone().expect("a profile");
    let after = edit::apply(&old.content, &network(&facts).edits);
    facts.interfaces[0].profile = Some(Profile {
        content: after.clone(),
        ..old
    });
    let again = network(&facts);
    assert_eq!(
        edit::apply(&after, &again.edits),
        after,
        "a second plan would find something"
    );
    after
}

#[test]
fn an_existing_profile_keeps_what_is_not_ours() {
    for (case, file) in [
        ("example-el7", "backup-adopted.txt"),
        ("keyfile-el9", "lb1-adopted.txt"),
    ] {
        let entry = CASES.iter().find(|c| c.file == file).expect("the case");
        let inventory = load(case);
        let after = edited(&inventory, entry.host, (entry.facts)(&inventory, entry.host));
        check_golden(case, &format!("profile-{file}"), &after);
    }
}

#[test]
fn a_profile_that_means_the_same_is_left_alone() {
    // As an administrator might have written what the example wants: other quotes, other order, `none` for `static`.
    let by_hand = "DEVICE='enp0s3'\nBOOTPROTO=none\nONBOOT=\"yes\"\nIPADDR=\"192.168.0.201\"\nPREFIX=24\n\
                   GATEWAY=\"192.168.0.1\"\nDEFROUTE=\"yes\"\nDNS1=\"221.228.255.1\"\nHWADDR=08:00:27:AA:BB:CC\n";
    let inventory = load("example-el7");
    let facts = with_profile(
        fresh(&inventory, "nginx-master", 7),
        "08:00:27:aa:bb:cc",
        "/etc/sysconfig/network-scripts/ifcfg-enp0s3",
        ProfileFormat::Ifcfg,
        by_hand,
    );
    assert_eq!(edited(&inventory, "nginx-master", facts), by_hand);

    let by_hand = "[connection]\nid=x\nuuid=1\ntype=ethernet\ninterface-name=ens192\n\n[ipv4]\nmethod=manual\n\
                   address1=198.51.100.12/24\ngateway=198.51.100.1\ndns=198.51.100.53\n";
    let inventory = load("keyfile-el9");
    let facts = with_profile(
        fresh(&inventory, "lb2", 9),
        "00:50:56:00:00:01",
        "/etc/NetworkManager/system-connections/x.nmconnection",
        ProfileFormat::Keyfile,
        by_hand,
    );
    assert_eq!(edited(&inventory, "lb2", facts), by_hand);
}

#[test]
fn routes_that_hapair_wrote_go_when_the_inventory_names_none() {
    let with = load("keyfile-el9");
    let mut without = with.clone();
    without.hosts[0].network.as_mut().expect("network").routes.clear();
    let entry = CASES.iter().find(|c| c.file == "lb1-adopted.txt").expect("the case");
    let mut facts = (entry.facts)(&with, "lb1");
    let ours = edited(&with, "lb1", facts.clone());
    assert!(
        ours.contains("route1=10.0.0.0/8,198.51.100.254") && !ours.contains("route2"),
        "{ours}"
    );
    // Routes of others stay where hapair never wrote any.
    let untouched = edited(&without, "lb1", facts.clone());
    assert!(untouched.contains("route2=192.168.0.0/16"), "{untouched}");
    facts.interfaces[0].profile.as_mut().expect("a profile").content = ours;
    let cleared = edited(&without, "lb1", facts);
    assert!(
        !cleared.contains("route1") && !cleared.contains("BEGIN hapair"),
        "{cleared}"
    );
}

//! What is refused, and in which words.

use super::seed::seed_inventory;
use super::*;

#[test]
fn a_value_that_would_break_out_is_refused() {
    let refused = |change: &dyn Fn(&mut Inventory)| {
        let mut inventory = load("managed-el9");
        change(&mut inventory);
        let facts = fresh(&inventory, "lb1", 9);
        match desired::host_state(&inventory, "lb1", &facts, &Templates::embedded(), &secrets(&inventory)) {
            Err(error) => match error.message.split_once(": ") {
                Some((field, why)) if why.contains(" is not allowed in ") => field.to_owned(),
                _ => panic!("another error: {error}"),
            },
            Ok(_) => panic!("accepted"),
        }
    };
    let vrrp = |i: &mut Inventory| i.vrrp.take().expect("VRRP");
    let change_vrrp = |change: &dyn Fn(&mut hapair::inventory::Vrrp)| {
        refused(&|i| {
            let mut v = vrrp(i);
            change(&mut v);
            i.vrrp = Some(v);
        })
    };
    assert_eq!(
        change_vrrp(&|v| v.instances[0].name = "V4 {\n}".into()),
        "vrrp.instances.name"
    );
    assert_eq!(
        change_vrrp(&|v| v.instances[0].notify.notify = Some("/x\" include /etc/y".into())),
        "vrrp.instances.notify"
    );
    assert_eq!(
        change_vrrp(&|v| v.global_defs.smtp_server = Some("mail\n}".into())),
        "vrrp.global_defs.smtp_server"
    );
    assert_eq!(
        refused(&|i| i.nginx.as_mut().expect("nginx").servers[0].proxy_pass = "app; include /etc/shadow".into()),
        "nginx.servers.proxy_pass"
    );
    assert_eq!(
        refused(&|i| i.hosts[0].network.as_mut().expect("network").interface = "eth0;reboot".into()),
        "network.interface"
    );
}

#[test]
fn an_auth_pass_that_would_break_out_is_refused_without_being_shown() {
    let inventory = seed_inventory("");
    let mut secrets = Secrets::new();
    secrets.set_auth_pass("VI_1", Secret::new("Q}\nZ"));
    let facts = fresh(&inventory, "nginx-master", 7);
    let error = desired::host_state(&inventory, "nginx-master", &facts, &Templates::embedded(), &secrets).unwrap_err();
    assert!(
        error.to_string().contains("auth_pass of VI_1") && !error.to_string().contains(['Q', 'Z']),
        "{error}"
    );
}

#[test]
fn impossible_wishes_are_named() {
    let wish = |change: &dyn Fn(&mut Inventory, &mut Facts)| {
        let mut inventory = load("example-el7");
        let mut facts = fresh(&inventory, "nginx-master", 7);
        inventory.vrrp.as_mut().expect("VRRP").engine = hapair::state::Engine::Keepalived;
        change(&mut inventory, &mut facts);
        desired::host_state(
            &inventory,
            "nginx-master",
            &facts,
            &Templates::embedded(),
            &secrets(&inventory),
        )
        .expect_err("an impossible wish")
        .to_string()
    };
    let cases = [
        wish(&|i, f| {
            i.repositories.base = hapair::inventory::BaseRepository::Vault;
            f.release.major = 9;
        }),
        wish(&|_, f| f.release.id = "rocky".into()),
        wish(&|_, f| f.release.major = 6),
        wish(&|i, _| i.hosts[0].release = Some(8)),
        wish(&|i, _| i.vrrp.as_mut().expect("VRRP").scripts[0].init_fail = true),
        wish(&|i, _| i.vrrp.as_mut().expect("VRRP").scripts[0].interval = 0.5),
        wish(&|i, _| {
            i.nginx = None;
            let hapair::inventory::ScriptKind::Http { url, .. } = &mut i.vrrp.as_mut().expect("VRRP").scripts[0].kind
            else {
                panic!("the example's check is http")
            };
            *url = None;
        }),
    ];
    check_golden("example-el7", "impossible.txt", &format!("{}\n", cases.join("\n")));
}

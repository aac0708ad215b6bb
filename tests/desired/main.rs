//! What a host should be, for a set of inventories, against golden files; and the seed's own two files.
//!
//! `HAPAIR_UPDATE_GOLDEN=1` rewrites the golden files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hapair::desired::{self, DesiredError, Secrets, Templates};
use hapair::inventory::{Inventory, SecretSource};
use hapair::keepalived::{self, NoFiles};
use hapair::state::edit;
use hapair::state::facts::ProfileFormat;
use hapair::state::{
    Content, Engine, Facts, HostState, Interface, NetworkManagerKind, NginxLayout, Profile, Secret, Spec,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn load(case: &str) -> Inventory {
    let path = golden().join("desired").join(case).join("inventory.yaml");
    match Inventory::load(&path) {
        Ok(inventory) => inventory,
        Err(errors) => panic!("{errors}"),
    }
}

/// The passwords as written; generated ones become `generate`.
fn secrets(inventory: &Inventory) -> Secrets {
    let mut secrets = Secrets::new();
    for instance in inventory
        .vrrp
        .iter()
        .flat_map(|v| &v.instances)
        .filter(|i| i.version == 2)
    {
        let secret = match &instance.auth_pass {
            Some(SecretSource::Literal(secret)) => secret.clone(),
            _ => Secret::new("generate"),
        };
        secrets.set_auth_pass(&instance.name, secret);
    }
    secrets
}

fn state(inventory: &Inventory, host: &str, facts: &Facts) -> HostState {
    match desired::host_state(inventory, host, facts, &Templates::embedded(), &secrets(inventory)) {
        Ok(state) => state,
        Err(error) => panic!("{error}: {:?}", error.hints()),
    }
}

fn fresh(inventory: &Inventory, host: &str, release: u8) -> Facts {
    desired::assumed_facts(inventory, host, release)
}

/// A host whose interface already has a profile.
fn with_profile(mut facts: Facts, mac: &str, path: &str, format: ProfileFormat, content: &str) -> Facts {
    let interface = facts.interfaces.first_mut().expect("the inventory names a network");
    interface.mac = mac.to_owned();
    interface.profile = Some(Profile {
        path: path.to_owned(),
        format,
        content: content.to_owned(),
    });
    facts
}

/// Text of a state that a person can review: one heading a resource, files as they are.
fn dump(state: &HostState) -> String {
    let mut out = String::new();
    for note in &state.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    for i in &state.instances {
        out.push_str(&format!(
            "instance: {} dev {} vrid {} priority {} vips {}\n",
            i.name,
            i.interface,
            i.virtual_router_id,
            i.priority,
            i.vips.join(" ")
        ));
    }
    for resource in &state.resources {
        let mut flags = String::new();
        if resource.cuts_ssh {
            flags.push_str(" [cuts ssh]");
        }
        if resource.election_critical {
            flags.push_str(" [election critical]");
        }
        out.push_str(&format!("\n=== {}: {}{flags}\n", resource.stage.name(), resource.id));
        let mut spec = serde_json::to_value(&resource.spec).expect("a spec is JSON");
        let map = spec.as_object_mut().expect("a spec is an object");
        let mut text = String::new();
        match &resource.spec {
            Spec::File {
                content: Content::Text(content),
                ..
            } => {
                map.remove("content");
                text.push_str(content);
            }
            Spec::Edit {
                create: Some(create), ..
            }
            | Spec::Network(hapair::state::resource::NetworkSpec { create, .. }) => {
                map.remove("create");
                text.push_str(create);
            }
            _ => {}
        }
        for (key, value) in map.iter().filter(|(key, _)| *key != "kind") {
            match (key.as_str(), value) {
                ("mode", value) if value.is_u64() => {
                    out.push_str(&format!("mode: {:04o}\n", value.as_u64().expect("a mode")))
                }
                (_, serde_json::Value::Array(items)) if items.iter().any(|i| i.is_object()) => {
                    out.push_str(&format!("{key}:\n"));
                    for item in items {
                        out.push_str(&format!("  {item}\n"));
                    }
                }
                _ => out.push_str(&format!("{key}: {value}\n")),
            }
        }
        for reaction in &resource.reactions {
            out.push_str(&format!("then: {}\n", serde_json::to_string(reaction).expect("JSON")));
        }
        if !text.is_empty() {
            out.push_str("---\n");
            for line in text.lines() {
                out.push_str(if line.is_empty() { "|" } else { "| " });
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

fn check_golden(case: &str, name: &str, text: &str) {
    let path = golden().join("desired").join(case).join(name);
    if std::env::var_os("HAPAIR_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("golden files can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        let diff = similar::TextDiff::from_lines(expected.as_str(), text);
        panic!("{} differs:\n{}", path.display(), diff.unified_diff().context_radius(3));
    }
}

/// One golden case: an inventory, a host of it, what the host said.
struct Case {
    name: &'static str,
    file: &'static str,
    host: &'static str,
    facts: fn(&Inventory, &str) -> Facts,
}

/// An `ifcfg` file with every trap in it, and keys hapair has no opinion on.
const TRAPPED_IFCFG: &str = "TYPE=Ethernet
BOOTPROTO=\"dhcp\"
DEFROUTE=no
PEERDNS=no
NAME=\"System enp0s3\"
UUID=d776619b-ac07-4367-b44c-40bd05aaea58
DEVICE=enp0s3
ONBOOT=\"yes\"
HWADDR=08:00:27:00:00:01
MTU=1450
ZONE=public
VLAN=no
IPADDR0=10.0.2.15
NETMASK0=255.255.255.0
NETMASK=255.255.255.0
IPADDR1=192.168.0.200
PREFIX1=24
IPADDR2=192.168.0.77
PREFIX2=24
DNS1=10.0.2.3
DNS2=10.0.2.4
PERSISTENT_DHCLIENT=1
";

/// A keyfile as an installer leaves it, with routes of somebody else's.
const INSTALLER_KEYFILE: &str = "[connection]
id=ens192
uuid=03da7500-2101-c722-2438-d0d006c28c73
type=ethernet
autoconnect=false
interface-name=ens192
zone=trusted

[ethernet]
cloned-mac-address=permanent

[ipv4]
address1=198.51.100.11/24
dns=198.51.100.53
gateway=198.51.100.1
method=manual
never-default=true
route1=172.16.0.0/12,198.51.100.253
route2=192.168.0.0/16,198.51.100.253

[ipv6]
addr-gen-mode=eui64
method=auto
";

const CASES: &[Case] = &[
    Case {
        name: "example-el7",
        file: "master.txt",
        host: "nginx-master",
        facts: |i, h| fresh(i, h, 7),
    },
    Case {
        name: "example-el7",
        file: "backup-adopted.txt",
        host: "nginx-backup",
        facts: |i, h| {
            let mut facts = with_profile(
                fresh(i, h, 7),
                "08:00:27:aa:bb:cc",
                "/etc/sysconfig/network-scripts/ifcfg-enp0s3",
                ProfileFormat::Ifcfg,
                TRAPPED_IFCFG,
            );
            facts.interfaces[0].manager = NetworkManagerKind::NetworkManager;
            facts.hostname = "old-name.example.com".to_owned();
            facts.cloud_init = true;
            facts.nginx_layout = Some(NginxLayout::NginxOrg);
            facts.keepalived_version = Some("1.2.13".to_owned());
            facts
        },
    },
    Case {
        name: "dual-active-el7",
        file: "a.txt",
        host: "web-a.example.com",
        facts: |i, h| fresh(i, h, 7),
    },
    Case {
        name: "dual-active-el7",
        file: "b.txt",
        host: "web-b.example.com",
        facts: |i, h| fresh(i, h, 8),
    },
    Case {
        name: "keyfile-el9",
        file: "lb1-adopted.txt",
        host: "lb1",
        facts: |i, h| {
            let mut facts = with_profile(
                fresh(i, h, 9),
                "00:50:56:00:00:01",
                "/etc/NetworkManager/system-connections/Wired.nmconnection",
                ProfileFormat::Keyfile,
                INSTALLER_KEYFILE,
            );
            facts.nginx_layout = Some(NginxLayout::Distribution);
            facts
        },
    },
    Case {
        name: "keyfile-el9",
        file: "lb1-fresh.txt",
        host: "lb1",
        facts: |i, h| fresh(i, h, 9),
    },
    Case {
        name: "keyfile-el9",
        file: "lb2-fresh.txt",
        host: "lb2",
        facts: |i, h| fresh(i, h, 10),
    },
    Case {
        name: "local-media-el7",
        file: "master.txt",
        host: "nginx-master",
        facts: |i, h| fresh(i, h, 7),
    },
    Case {
        name: "managed-el9",
        file: "lb1.txt",
        host: "lb1",
        facts: |i, h| fresh(i, h, 9),
    },
    Case {
        name: "managed-el9",
        file: "lb2-cloud.txt",
        host: "lb2",
        facts: |i, h| {
            // A cloud image: no firewalld, cloud-init, SELinux off.
            let mut facts = fresh(i, h, 9);
            facts.packages.clear();
            facts.cloud_init = true;
            facts.selinux_config = None;
            facts.selinux_runtime = None;
            facts
        },
    },
    Case {
        name: "source-build-el7",
        file: "one.txt",
        host: "one",
        facts: |i, h| {
            let mut facts = fresh(i, h, 7);
            facts.interfaces = vec![Interface {
                name: "eth7".to_owned(),
                ..Interface::default()
            }];
            facts.default_routes = vec![hapair::state::facts::DefaultRoute {
                gateway: "192.0.2.254".to_owned(),
                interface: "eth7".to_owned(),
                metric: 100,
            }];
            facts
        },
    },
];

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

fn options() -> keepalived::Options<'static> {
    keepalived::Options {
        path: "keepalived.conf",
        config_id: "test",
        instance: "test",
        resolver: &NoFiles,
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

fn conf(state: &HostState) -> String {
    let found = state.resources.iter().find_map(|r| match &r.spec {
        Spec::File {
            path,
            content: Content::Text(text),
            ..
        } if path == "/etc/keepalived/keepalived.conf" => Some(text),
        _ => None,
    });
    found.expect("a state with VRRP has a keepalived.conf").clone()
}

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

/// Every statement of a configuration with the blocks it stands in, sorted: order means nothing here.
fn statements(text: &str) -> Vec<String> {
    fn walk(prefix: &str, blocks: &[keepalived::Block], out: &mut Vec<String>) {
        for block in blocks {
            let line = format!("{prefix}{}", block.words.join(" "));
            if block.children.is_empty() {
                out.push(line);
            } else {
                walk(&format!("{line} / "), &block.children, out);
            }
        }
    }
    let (blocks, found) = keepalived::blocks(text, &options());
    assert!(
        found.iter().all(|d| d.severity != keepalived::Severity::Error),
        "{found:?}"
    );
    let mut out = Vec::new();
    walk("", &blocks, &mut out);
    out.sort();
    out
}

/// The inventory that says what the seed's two files say.
fn seed_inventory(global_defs: &str) -> Inventory {
    let text = format!(
        r#"
name: seed
hosts:
  - {{name: nginx-master, network: {{interface: enp0s3, address: 192.168.0.201/24, gateway: 192.168.0.1}}}}
  - {{name: nginx-backup, network: {{interface: enp0s3, address: 192.168.0.202/24, gateway: 192.168.0.1}}}}
vrrp:
  engine: keepalived
  global_defs:
    router_id: {{nginx-master: nginx_master, nginx-backup: nginx_backup}}
    vrrp_garp_interval: 0
    vrrp_gna_interval: 0
{global_defs}
  scripts:
    - {{name: chk_nginx, kind: restart, unit: nginx.service, interval: 2, weight: -5, fall: 3, rise: 2}}
  instances:
    - name: VI_1
      virtual_router_id: 51
      priorities: {{nginx-master: 101, nginx-backup: 100}}
      advert_int: 1
      auth_pass: "1111"
      virtual_ipaddress: [192.168.0.200]
      track_script: [chk_nginx]
"#
    );
    match Inventory::parse(&text, Path::new("seed.yaml")) {
        Ok(inventory) => inventory,
        Err(errors) => panic!("{errors}"),
    }
}

/// What the rendered file has and the seed's has not, and the other way round.
fn differences(seed: &str, rendered: &str) -> (Vec<String>, Vec<String>) {
    let (seed, rendered) = (statements(seed), statements(rendered));
    let only = |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    (only(&rendered, &seed), only(&seed, &rendered))
}

/// Where hapair means to differ from the seed's files, and nowhere else.
const MEANT: [&str; 5] = [
    // A script of root's that others could write is refused, and that has to be asked for.
    "global_defs / enable_script_security",
    "global_defs / script_user root",
    // A peer's stale ARP entry is corrected within a minute.
    "vrrp_instance VI_1 / garp_master_refresh 60",
    // SELinux's policy lets scripts run unconfined only there.
    "vrrp_script chk_nginx / script /usr/libexec/keepalived/chk_ng.sh",
    // Without it the script is killed after its interval of 2 s, in the middle of starting nginx.
    "vrrp_script chk_nginx / timeout 10",
];

#[test]
fn the_seed_files_are_rendered() {
    let inventory = seed_inventory("");
    for (host, file) in [("nginx-master", "master.conf"), ("nginx-backup", "backup.conf")] {
        let seed = std::fs::read_to_string(golden().join("seed").join(file)).expect("the seed's file");
        let rendered = conf(&state(&inventory, host, &fresh(&inventory, host, 7)));
        let (more, less) = differences(&seed, &rendered);
        assert_eq!(more, MEANT, "{file}");
        assert_eq!(
            less,
            ["vrrp_script chk_nginx / script /etc/keepalived/check_ng.sh"],
            "{file}"
        );
    }
}

#[test]
fn the_seed_files_with_their_commented_lines_are_rendered() {
    let inventory = seed_inventory(
        "    notification_email: [acassen@firewall.loc, failover@firewall.loc, sysadmin@firewall.loc]
    notification_email_from: Alexandre.Cassen@firewall.loc
    smtp_server: 192.168.200.1
    smtp_connect_timeout: 30
    vrrp_skip_check_adv_addr: true",
    );
    for (host, file) in [("nginx-master", "master.conf"), ("nginx-backup", "backup.conf")] {
        let seed = std::fs::read_to_string(golden().join("seed").join(file)).expect("the seed's file");
        // In global_defs every commented line is one to enable, but vrrp_strict: it makes the VIP unreachable.
        let (head, tail) = seed.split_once("\n}\n").expect("global_defs ends");
        let head: String = head
            .lines()
            .filter(|line| !line.contains("vrrp_strict"))
            .map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line)))
            .collect();
        let rendered = conf(&state(&inventory, host, &fresh(&inventory, host, 7)));
        let (more, less) = differences(&format!("{head}}}\n{tail}"), &rendered);
        // The seed's text promises mail at a switch; keepalived sends it only where the instance says so.
        let mut meant = MEANT.to_vec();
        meant.insert(3, "vrrp_instance VI_1 / smtp_alert");
        assert_eq!(more, meant, "{file}");
        assert_eq!(
            less,
            ["vrrp_script chk_nginx / script /etc/keepalived/check_ng.sh"],
            "{file}"
        );
    }
}

#[test]
fn a_value_that_would_break_out_is_refused() {
    let refused = |change: &dyn Fn(&mut Inventory)| {
        let mut inventory = load("managed-el9");
        change(&mut inventory);
        let facts = fresh(&inventory, "lb1", 9);
        match desired::host_state(&inventory, "lb1", &facts, &Templates::embedded(), &secrets(&inventory)) {
            Err(DesiredError::Unsafe { field, .. }) => field,
            Err(other) => panic!("another error: {other}"),
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

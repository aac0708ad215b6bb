//! What preflight is told to look for.

use hapair::state::{AdvertNeed, ListenNeed, Needs};

use super::*;

fn needs(edits: &[(&str, &str)], host: &str) -> Needs {
    let mut text = include_str!("../../inventory.example.yaml").to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "the example no longer has `{from}`");
        text = text.replacen(from, to, 1);
    }
    let inventory = Inventory::parse(&text, Path::new("inventory.yaml")).expect("valid");
    state(&inventory, host, &fresh(&inventory, host, 7)).needs
}

fn advert(from: &str, to: &str) -> AdvertNeed {
    AdvertNeed {
        interface: "enp0s3".into(),
        from: from.parse().expect("an address"),
        to: to.parse().expect("an address"),
    }
}

#[test]
fn the_examples_interfaces_ports_and_the_peers_adverts() {
    let wanted = Needs {
        interfaces: vec!["enp0s3".into()],
        listens: vec![ListenNeed {
            address: None,
            port: 80,
        }],
        tls_files: vec![],
        adverts: vec![advert("192.168.0.202", "224.0.0.18")],
    };
    assert_eq!(needs(&[], "nginx-master"), wanted);
    let other = needs(&[], "nginx-backup");
    assert_eq!(other.adverts, [advert("192.168.0.201", "224.0.0.18")]);
}

#[test]
fn unicast_another_source_and_tls() {
    let unicast = ("      #: unicast: true", "      unicast: true");
    let seen = needs(&[unicast], "nginx-master");
    assert_eq!(seen.adverts, [advert("192.168.0.202", "192.168.0.201")]);
    let source = (
        "      #: mcast_src_ip: {nginx-master: 192.168.0.201, nginx-backup: 192.168.0.202}",
        "      mcast_src_ip: {nginx-master: 192.168.0.211, nginx-backup: 192.168.0.212}",
    );
    let seen = needs(&[source], "nginx-master");
    assert_eq!(seen.adverts, [advert("192.168.0.212", "224.0.0.18")]);
    let tls = ("    #: - {listen: 443,", "    - {listen: 443,");
    let seen = needs(&[tls], "nginx-master");
    assert_eq!(
        seen.tls_files,
        ["/etc/pki/tls/certs/site.pem", "/etc/pki/tls/private/site.key"]
    );
    assert_eq!(seen.listens.iter().map(|l| l.port).collect::<Vec<_>>(), [80, 443]);
}

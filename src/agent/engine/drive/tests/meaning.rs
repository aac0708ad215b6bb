//! What a configuration means for addresses, checks and groups.

use super::*;

#[test]
fn flags_of_addresses_reach_the_kernel_and_one_written_twice_is_there_once() {
    inside(|| {
        let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 51\n priority 255\n virtual_ipaddress {\n \
                    10.78.0.99/24 noprefixroute\n 10.78.0.99/24\n 10.79.0.99/24 brd +\n 10.80.0.99/24 brd -\n }\n \
                    virtual_ipaddress_excluded {\n fd00:78::99/64 noprefixroute home\n fd00:79::99/64 -nodad\n }\n}\n";
        let (config, _) = crate::keepalived::lint(text, &crate::keepalived::Options::default());
        let mut netlink = Netlink::open().unwrap();
        let links = netlink.read().unwrap();
        let instance = &config.instances[0];
        let addresses = crate::agent::plan::addresses(instance, &links);
        assert_eq!(addresses.len(), 5, "{addresses:?}");
        let source = "10.77.0.1".parse().unwrap();
        assert_eq!(
            crate::agent::plan::settings(instance, source).vips.len(),
            4,
            "twice in an advert"
        );
        assert!(netlink.add(&addresses).is_empty());
        let (v4, v6) = (ip("-4 route show dev eth0"), ip("-6 route show dev eth0"));
        assert!(!v4.contains("10.78.0.0/24") && v4.contains("10.79.0.0/24"), "{v4}");
        assert!(!v6.contains("fd00:78::/64") && v6.contains("fd00:79::/64"), "{v6}");
        let all = ip("-o addr show dev eth0");
        for (address, flags) in [
            ("10.78.0.99/24", " noprefixroute"),
            ("10.79.0.99/24", " brd 10.79.0.255"),
            ("10.80.0.99/24", " brd 10.80.0.0"),
            ("fd00:78::99/64", " nodad"),
            ("fd00:78::99/64", " home"),
        ] {
            assert!(
                all.lines().any(|l| l.contains(address) && l.contains(flags)),
                "{address} {flags}: {all}"
            );
        }
        assert!(
            !all.lines()
                .any(|l| l.contains("fd00:79::99/64") && l.contains(" nodad")),
            "{all}"
        );
        let gone: Vec<Assigned> = addresses.iter().map(|a| a.at).collect();
        assert!(netlink.remove(&gone).is_empty());
        assert!(!there("10.78.0.99") && !there("fd00:78::99"));
    });
}

#[test]
fn a_check_that_is_not_there_counts_for_nothing() {
    inside(|| {
        let scripts = "vrrp_script gone {\n script /nowhere/gone\n}\nvrrp_script lost {\n script /nowhere/lost\n weight 20\n}\n\
                       vrrp_script away {\n script /nowhere/away\n weight -20\n}\n";
        let tracks = " track_script {\n gone\n lost\n away\n }\n}\n";
        let text = scripts.to_owned() + instance(1, 150, &[VIP]).trim_end_matches("}\n") + tracks;
        let mut world = World::new(&text);
        world.engine.start(T(1000), Before::Clean);
        world.engine.tick(T(5000));
        let row = &world.engine.look(T(5000)).rows[0];
        assert_eq!((row.router.state, row.router.priority), (State::Master, 150));
        assert!(there(VIP));
    });
}

#[test]
fn the_interface_of_an_address_elsewhere_is_tracked_unless_it_is_said_not_to_be() {
    for (word, state) in [("", State::Fault), (" no_track", State::Master)] {
        inside(move || {
            ip("link add name far0 type veth peer name eth1");
            let vips = format!("10.78.0.99/24 dev eth1{word}\n 10.77.0.98");
            let mut world = World::new(&instance(1, 255, &[VIP]).replace(VIP, &vips));
            world.engine.start(T(1000), Before::Clean);
            assert_eq!(world.state(0), state, "eth1 is down{word}");
        });
    }
}

#[test]
fn a_group_says_priority_0() {
    inside(|| {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let global = format!("global_defs {{\n vrrp_notify_fifo {}\n}}\n", fifo.display());
        let group = "vrrp_sync_group G {\n group {\n V1\n }\n}\n";
        let mut world = World::new(&(global + group + &owner()));
        world.engine.start(T(1000), Before::Clean);
        let mut options = std::fs::OpenOptions::new();
        let mut reader = std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), libc::O_NONBLOCK)
            .open(&fifo)
            .unwrap();
        let mut said = || {
            let mut bytes = [0; 4096];
            let got = std::io::Read::read(&mut reader, &mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..got]).into_owned()
        };
        let text = said();
        assert!(
            text.contains("INSTANCE \"V1\" MASTER 255\n") && text.contains("GROUP \"G\" MASTER 0\n"),
            "{text}"
        );
        world.engine.write_states(T(1100));
        assert_eq!(said(), "INSTANCE \"V1\" MASTER 255\nGROUP \"G\" MASTER 0\n");
    });
}

#[test]
fn an_address_that_is_still_being_detected_is_not_lost() {
    inside(|| {
        let mut monitor = Monitor::open().unwrap();
        let v6 = "vrrp_instance V6 {\n interface eth0\n virtual_router_id 66\n version 3\n priority 255\n \
                  garp_master_refresh 0\n garp_master_delay 0\n virtual_ipaddress {\n fd00:77::95/64 -nodad\n }\n}\n";
        ip("addr add fe80::77:1/64 dev eth0 nodad");
        let mut world = World::new(v6);
        world.engine.start(T(1000), Before::Clean);
        assert!(world.state(0) == State::Master && there("fd00:77::95"));
        let told = monitor.changes().unwrap();
        let unusable =
            |c: &Change| matches!(c, Change::Unusable(a) if a.ip == IpAddr::from([0xfd00, 0x77, 0, 0, 0, 0, 0, 0x95]));
        assert!(told.iter().any(unusable), "{told:?}");
        world.engine.changed(T(1001), &told);
        // Putting it back would tell the neighbours once more, and of an address that nobody took away.
        for change in told.iter().filter(|c| unusable(c)) {
            assert!(matches!(world.engine.as_seen(change), Change::Address(_)), "{change:?}");
        }
        let other = Change::Unusable(assigned("10.77.0.1"));
        assert_eq!(world.engine.as_seen(&other), other);
        world.engine.stop(T(1100));
        assert!(!there("fd00:77::95"));
    });
}

//! Moving the VIP by hand, with either engine.

use std::net::IpAddr;
use std::time::Duration;

use crate::support::*;
use crate::watch::watch;

#[test]
fn the_vip_moves_on_command_stays_away_and_comes_back() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let owners = || {
        let status = twins.hapair(&["status", "--output", "json"]).expect(0).summary();
        [0, 1].map(|host| status["hosts"][host]["instances"][0]["owns_vip"] == true)
    };

    let seen = watch(&twins, vip, || {
        let moved = twins
            .hapair(&["handover", "--yes", "--output", "json"])
            .expect(0)
            .summary();
        assert_eq!(
            [&moved["owner_before"], &moved["owner_after"]],
            [MASTER, BACKUP],
            "{moved}"
        );
        assert_eq!(moved["instances"][0], "VI_1", "{moved}");
    });
    seen.gently("handover");
    assert_eq!(owners(), [false, true]);

    // The work that it is held for: an apply that has nothing to do with VRRP does not bring it back.
    if engine() == "agent" {
        twins.write(&example_with(&[("\"10.0.0.12:8080\"", "\"10.0.0.12:8080 backup\"")]));
        twins.apply().expect(0);
        assert_eq!(owners(), [false, true]);
    } else {
        // keepalived cannot hold back, it is stopped: an apply would have to start it.
        twins
            .hapair(&["apply", "--yes"])
            .expect(1)
            .says(MASTER)
            .says("keepalived.service was stopped on purpose")
            .says("`hapair handover --resume`")
            .says("neither host was changed");
        assert_eq!(owners(), [false, true]);
    }

    let back = twins
        .hapair(&["handover", "--resume", "--yes", "--output", "json"])
        .expect(0)
        .summary();
    assert_eq!(back["owners"]["VI_1"], MASTER, "{back}");
    assert_eq!(owners(), [true, false]);

    // For a time: it comes back by itself.
    twins.hapair(&["handover", "--hold", "3s", "--yes"]).expect(0);
    wait_until("the VIP is back", Duration::from_secs(30), || owners() == [true, false]);
}

#[test]
fn no_vip_is_handed_to_a_host_that_cannot_serve() {
    let twins = Twins::up(EXAMPLE);
    twins.apply().expect(0);
    twins.sh(BACKUP, "systemctl stop nginx");
    twins
        .hapair(&["handover", "--yes"])
        .expect(1)
        .says(BACKUP)
        .says("nginx is inactive")
        .says("nothing was changed");
    twins
        .hapair(&["handover", "--from", BACKUP, "--yes"])
        .expect(1)
        .says("owns no VIP");
    twins.sh(MASTER, "ip -4 -o addr show | grep -q 192.168.0.200");
}

//! Moving the VIP by hand, with either engine.

use std::net::IpAddr;
use std::time::Duration;

use crate::support::*;
use crate::watch::watch;

#[test]
fn the_vip_moves_on_command_stays_away_and_comes_back() {
    let twins = Twins::up_alone(EXAMPLE);
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
    if engine() == "agent" {
        seen.at_once("handover");
        assert_eq!(cause(&twins, BACKUP), "Takeover");
    }
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
            .says("keepalived.service is being held stopped")
            .says("`hapair handover --resume`")
            .says("neither host was changed");
        assert_eq!(owners(), [false, true]);
    }

    let seen = watch(&twins, vip, || {
        let back = twins
            .hapair(&["handover", "--resume", "--yes", "--output", "json"])
            .expect(0)
            .summary();
        assert_eq!(back["owners"]["VI_1"], MASTER, "{back}");
    });
    seen.gently("handover --resume");
    if engine() == "agent" {
        seen.at_once("handover --resume");
        // It did not wait for three adverts.
        assert_eq!(cause(&twins, MASTER), "Takeover");
    }
    assert_eq!(owners(), [true, false]);

    // For a time: it comes back by itself.
    twins.hapair(&["handover", "--hold", "3s", "--yes"]).expect(0);
    wait_until("the VIP is back", Duration::from_secs(30), || owners() == [true, false]);
}

/// How the host's agent came to its state.
fn cause(twins: &Twins, host: &str) -> String {
    let text = twins.sh(host, "hapair-agent status --json");
    let status: serde_json::Value = serde_json::from_str(&text).expect("json");
    status["instances"][0]["cause"].as_str().unwrap_or_default().to_owned()
}

/// With keepalived on the owner, which cannot hold back, it is the standby's raised priority that keeps the VIP.
#[test]
fn from_keepalived_an_agent_takes_over_at_once_and_keeps_the_vip_until_it_is_told() {
    let twins = Twins::up_alone(EXAMPLE);
    twins.write_with_engine(EXAMPLE, "keepalived");
    twins.apply().expect(0);
    twins.write_with_engine(EXAMPLE, "agent");
    twins.hapair(&["apply", "--yes", "--limit", BACKUP]).expect(0);
    let vip: IpAddr = "192.168.0.200".parse().expect("address");
    let owners = || {
        let status = twins.hapair(&["status", "--output", "json"]).summary();
        [0, 1].map(|host| status["hosts"][host]["instances"][0]["owns_vip"] == true)
    };
    assert_eq!(owners(), [true, false]);
    let seen = watch(&twins, vip, || {
        twins.hapair(&["handover", "--yes"]).expect(0);
    });
    seen.at_once("handover from keepalived");
    // Longer than keepalived would wait.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(owners(), [false, true]);
    twins.sh(MASTER, "systemctl is-active keepalived");
    twins.hapair(&["status"]).says("took the VIP over on command");

    // The rest of the switch: keepalived stops on a host that owns nothing; the new agent takes back what it is preferred for only
    // when it is told.
    let seen = watch(&twins, vip, || {
        twins.apply().expect(0);
    });
    seen.at_once("keepalived exchanged for the agent");
    assert_eq!(owners(), [false, true]);
    let seen = watch(&twins, vip, || {
        twins.hapair(&["handover", "--resume", "--yes"]).expect(0);
    });
    seen.at_once("handover --resume");
    assert_eq!(owners(), [true, false]);
}

#[test]
fn no_vip_is_handed_to_a_host_that_cannot_serve() {
    let twins = Twins::up_alone(EXAMPLE);
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

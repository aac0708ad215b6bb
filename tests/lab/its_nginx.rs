//! Its nginx, not anybody's: what another user runs under that name keeps no VIP.

use std::time::Duration;

use crate::support::{BACKUP, HOSTS, MASTER, Twins, example_with, wait_until};

const VIP: &str = "192.168.0.200";
/// Longer than any check takes to fail here.
const PATIENCE: Duration = Duration::from_secs(60);

fn owns(twins: &Twins, host: &str) -> bool {
    twins.sh(host, "ip -4 -o addr").contains(&format!(" {VIP}/"))
}

fn alone(twins: &Twins, owner: &str) {
    wait_until(&format!("{owner} alone owns the VIP"), PATIENCE, || {
        HOSTS.iter().all(|host| owns(twins, host) == (*host == owner))
    });
}

/// `nobody` runs something called nginx; root runs a second one, in no unit.
fn strangers(twins: &Twins) {
    twins.sh(
        MASTER,
        "mkdir -p /opt/other && cp /bin/sleep /opt/other/nginx && chmod 755 /opt/other /opt/other/nginx
         setsid su -s /bin/sh nobody -c 'exec /opt/other/nginx 900' </dev/null >/dev/null 2>&1 &
         setsid /opt/other/nginx 901 </dev/null >/dev/null 2>&1 &
         for try in 1 2 3 4 5 6 7 8 9 10; do
             [ \"$(pgrep -xc nginx)\" -ge 4 ] && pgrep -xu nobody nginx && exit 0
             sleep 0.5
         done
         exit 1",
    );
}

/// nginx dies and cannot be started again.
fn break_nginx(twins: &Twins) {
    twins.sh(MASTER, "chmod 000 /usr/sbin/nginx && systemctl stop nginx");
    twins.sh(MASTER, "pgrep -x nginx");
}

fn mend_nginx(twins: &Twins) {
    twins.sh(MASTER, "chmod 755 /usr/sbin/nginx && systemctl start nginx");
}

#[test]
fn the_restart_check_counts_the_units_own_processes() {
    let twins = Twins::up(&example_with(&[
        ("kind: http", "kind: restart"),
        ("      url: \"http://localhost/\"\n", ""),
    ]));
    twins.apply().expect(0);
    strangers(&twins);
    alone(&twins, MASTER);
    // It is started again although others of that name run.
    twins.sh(MASTER, "systemctl stop nginx");
    wait_until("the check starts nginx again", PATIENCE, || {
        twins.try_sh(MASTER, "systemctl is-active nginx").code == 0
    });
    break_nginx(&twins);
    alone(&twins, BACKUP);
    mend_nginx(&twins);
    alone(&twins, MASTER);
}

#[test]
fn the_agents_process_tracking_counts_the_units_own_processes() {
    let inventory = example_with(&[
        ("  #: track_processes:\n", "  track_processes:\n"),
        (
            "  #:   - {name: nginx_up, process: nginx, weight: -20, delay: 1}\n",
            "    - {name: nginx_up, process: nginx, weight: -20, delay: 1}\n",
        ),
        (
            "      #: track_process: [nginx_up]\n",
            "      track_process: [nginx_up]\n",
        ),
        ("      track_script: [chk_nginx]\n", ""),
    ]);
    let twins = Twins::up(&inventory);
    // keepalived knows names only.
    twins.write_with_engine(&inventory, "agent");
    twins.apply().expect(0);
    let status = || twins.sh(MASTER, "hapair-agent status");
    assert!(
        status().contains("process nginx_up  runs  of unit nginx.service"),
        "{}",
        status()
    );
    strangers(&twins);
    alone(&twins, MASTER);
    break_nginx(&twins);
    alone(&twins, BACKUP);
    let told = "process nginx_up  is missed  of unit nginx.service, 2 of that name not counted";
    assert!(status().contains(told), "{}", status());
    mend_nginx(&twins);
    alone(&twins, MASTER);
}

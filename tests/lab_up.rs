//! The twins themselves: they come up, behave like bare CentOS hosts, and leave nothing. Needs root.

mod left_out;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hapair::inventory::Inventory;
use hapair::lab::{self, Lab, LabError, LabSpec, UpOptions};

/// False, loudly, where the test cannot run; fails where it must run.
fn runs_here() -> bool {
    if !left_out::is_root() {
        left_out::missing_here("root");
        return false;
    }
    if !lab::requirements().is_empty() {
        lab::install_requirements(&mut |line| eprintln!("{line}")).unwrap();
    }
    true
}

/// An inventory of a name of its own, so that tests and an operator's labs never meet.
fn inventory(name: &str) -> String {
    format!(
        r#"
name: {name}
ssh: {{user: root}}
hosts:
  - name: one
    network: {{interface: enp0s3, address: 198.18.7.201/24, gateway: 198.18.7.1, dns: [203.0.113.53]}}
  - name: two
    network: {{interface: enp0s3, address: 198.18.7.202/24, gateway: 198.18.7.1, dns: [203.0.113.53]}}
nginx:
  upstreams: {{app: {{servers: ["198.51.100.11:8080", "app.internal:8081"]}}}}
  servers: [{{listen: 80, proxy_pass: app}}]
vrrp:
  instances:
    - {{name: VI_1, virtual_router_id: 51, priorities: {{one: 101, two: 100}}, virtual_ipaddress: [198.18.7.200/24]}}
"#
    )
}

fn spec(text: &str) -> LabSpec {
    let inventory = Inventory::parse(text, Path::new("inventory.yaml")).unwrap();
    LabSpec::from_inventory(&inventory, None, &mut |_| {
        Err(LabError::new("no secret is needed here"))
    })
    .unwrap()
}

/// Takes the lab down however the test ends.
struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = lab::down(&self.0) {
            eprintln!("lab {} stays up: {error}", self.0);
        }
    }
}

/// Everything of a lab that can be found by name: files, namespaces, cgroups, mounts, processes.
fn traces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |path: String| found.push(path);
    let state = format!("/run/hapair/lab/{name}");
    if Path::new(&state).exists() {
        note(state.clone());
    }
    for kind in ["net", "ctl"] {
        let path = format!("/run/netns/hp-{name}-{kind}");
        if Path::new(&path).exists() {
            note(path);
        }
    }
    for tree in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
        let path = format!("{tree}/hapair-lab/{name}");
        if Path::new(&path).exists() {
            note(path);
        }
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let dir = process.path();
        if !dir
            .file_name()
            .unwrap()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit())
        {
            continue;
        }
        for file in ["cmdline", "mountinfo", "cgroup"] {
            let text = fs::read(dir.join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            if text.contains(&format!("{state}/")) || text.contains(&format!("hapair-lab/{name}/")) {
                note(format!(
                    "{} {file}: {}",
                    dir.display(),
                    text.chars().take(200).collect::<String>()
                ));
            }
        }
    }
    found
}

/// No trace of the lab. A killed process stays in the table until its parent, this very test, has taken note of it:
/// hence the patience.
#[track_caller]
fn nothing_is_left(name: &str) {
    let start = Instant::now();
    while !traces(name).is_empty() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(traces(name), Vec::<String>::new());
}

/// What this machine's own network looks like; read, never probed.
fn own_network() -> (BTreeSet<String>, String) {
    let interfaces = fs::read_dir("/sys/class/net")
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned());
    let addresses = fs::read_to_string("/proc/self/net/fib_trie").unwrap_or_default();
    (interfaces.collect(), addresses)
}

fn boot_id(lab: &Lab, host: &str) -> Option<String> {
    lab.sh(host, "cat /proc/sys/kernel/random/boot_id").ok()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "waited too long for: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn twins_are_bare_centos_hosts_and_leave_nothing() {
    if !runs_here() {
        return;
    }
    let name = format!("test-{}", std::process::id());
    let guard = Guard(name.clone());
    let before = own_network();
    let lab = Lab::up(spec(&inventory(&name)), UpOptions::default(), &mut |_| {}).unwrap();

    // SSH, with the lab's key and host keys alone.
    for (host, address) in [("one", "198.18.7.201"), ("two", "198.18.7.202")] {
        let script = "cat /etc/redhat-release; hostname; ip -4 -o address show dev enp0s3; . /etc/os-release; echo $ID$VERSION_ID";
        let output = lab.ssh(host, &[script]).unwrap().output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{host}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for part in [
            "CentOS Linux release 7.9.2009",
            "localhost.localdomain",
            address,
            "centos7",
        ] {
            assert!(said.contains(part), "{host}: no `{part}` in {said}");
        }
        for program in ["nginx", "keepalived"] {
            assert!(
                lab.sh(host, &format!("! command -v {program} && ! rpm -q {program}"))
                    .is_ok(),
                "{program} is there already"
            );
        }
        lab.sh(
            host,
            "systemctl is-active firewalld sshd network; test -z \"$(systemctl --failed --no-legend)\"",
        )
        .unwrap();
        lab.sh(host, "grep -qx SELINUX=enforcing /etc/selinux/config; sudo -V | grep -q 'Value to override user.s $PATH with: /sbin:/bin:/usr/sbin:/usr/bin'").unwrap();
    }

    // Names: the mirrors and upstreams exist, nothing else does.
    lab.sh("one", "getent hosts nginx.org && getent hosts app.internal")
        .unwrap();
    for unknown in ["mirrorlist.centos.org", "example.com", "one"] {
        let output = lab.exec("one", &["getent", "hosts", unknown]).unwrap();
        assert_eq!(output.status.code(), Some(2), "{unknown} has an address");
    }
    let answer = lab
        .sh(
            "one",
            "curl -sS http://198.51.100.11:8080/ && curl -sS http://app.internal:8081/",
        )
        .unwrap();
    assert!(
        answer.contains("198.51.100.11:8080") && answer.contains(":8081"),
        "{answer}"
    );
    // Nothing is behind the gateway.
    assert!(lab.sh("one", "curl -sS -m 5 http://192.0.2.1/").is_err());

    packages(&lab);
    network_service(&lab);

    // A reboot is a new boot on a fresh network, and what was written stays.
    let first = boot_id(&lab, "one").unwrap();
    lab.sh(
        "one",
        "echo stays > /etc/lab-mark; ip address add 198.18.7.99/24 dev enp0s3",
    )
    .unwrap();
    let _ = lab.ssh("one", &["reboot"]).unwrap().output().unwrap();
    until("the reboot", || boot_id(&lab, "one").is_some_and(|now| now != first));
    lab.wait_for_ssh("one").unwrap();
    lab.sh(
        "one",
        "grep -q stays /etc/lab-mark && ! ip -4 -o address show dev enp0s3 | grep -q 198.18.7.99",
    )
    .unwrap();

    // Off stays off until it is switched on; a cut cable is a lost carrier.
    lab.power_off("two").unwrap();
    assert!(!lab.status().unwrap().is_whole() && lab.exec("two", &["true"]).is_err());
    lab.power_on("two").unwrap();
    lab.cut_link("two").unwrap();
    until("the carrier to go", || {
        lab.sh("two", "cat /sys/class/net/enp0s3/carrier").unwrap().trim() == "0"
    });
    lab.join_link("two").unwrap();
    until("the carrier to come", || {
        lab.sh("two", "cat /sys/class/net/enp0s3/carrier").unwrap().trim() == "1"
    });
    assert!(lab.status().unwrap().is_whole());

    isolation(&lab, &before);
    assert!(
        !traces(&name).is_empty(),
        "the search for traces finds nothing of a lab that is up"
    );
    drop(guard);
    nothing_is_left(&name);
    assert_eq!(own_network().0, before.0);
}

/// yum: dead as installed; signed packages go in, an unsigned one does not.
fn packages(lab: &Lab) {
    assert!(
        lab.sh("one", "yum -q -y install keepalived").is_err(),
        "CentOS 7's own repositories are dead"
    );
    let setup = "curl -sS http://mirrors.aliyun.com/repo/Centos-7.repo -o /etc/yum.repos.d/CentOS-Base.repo && \
                 printf '[nginx-stable]\\nname=nginx\\nbaseurl=https://nginx.org/packages/centos/7/$basearch/\\n\
                 gpgcheck=1\\ngpgkey=https://nginx.org/keys/nginx_signing.key\\n' > /etc/yum.repos.d/nginx.repo && yum -q makecache";
    lab.sh("one", setup).unwrap();
    assert!(
        lab.sh("one", "yum -q -y --disablerepo=nginx-stable install nginx")
            .is_err(),
        "nginx is not in CentOS 7's repositories"
    );
    lab.sh("one", "yum -q -y install nginx keepalived && nginx -t && rpm -V nginx keepalived && test ! -e /etc/nginx/sites-enabled").unwrap();
    lab.sh(
        "one",
        "yum -q -y groupinstall 'Development Tools' && rpm -q gcc rpm-sign",
    )
    .unwrap();
    let refused = lab.sh("one", "yum -y install lab-unsigned").unwrap_err();
    assert!(refused.message.contains("is not signed"), "{refused}");
    assert!(lab.sh("one", "rpm -q lab-unsigned").is_err());
    // A signature by a key that the repository does not name is as bad as none.
    let foreign = "yum -y --disablerepo='*' --repofrompath=x,http://vault.centos.org/7.9.2009/os/x86_64/ \
                   --setopt=x.gpgcheck=1 --setopt=x.gpgkey=https://nginx.org/keys/nginx_signing.key --enablerepo=x install make";
    let _ = lab.sh("two", "rpm -e --allmatches gpg-pubkey 2>/dev/null");
    assert!(
        lab.sh("two", foreign).is_err(),
        "a package signed by another key went in"
    );
}

/// The stand-in for CentOS 7's network.service keeps to its rules.
fn network_service(lab: &Lab) {
    let dir = "/etc/sysconfig/network-scripts";
    // A backup with a date is an interface, of an absent device here: restart fails though the wanted one is up.
    lab.sh(
        "two",
        &format!("sed s/enp0s3/absent0/ {dir}/ifcfg-enp0s3 > {dir}/ifcfg-enp0s3.20261122"),
    )
    .unwrap();
    assert!(lab.sh("two", "systemctl restart network").is_err());
    lab.sh(
        "two",
        &format!("ip -4 -o address show dev enp0s3 | grep -q 198.18.7.202; rm {dir}/ifcfg-enp0s3.20261122"),
    )
    .unwrap();
    lab.sh(
        "two",
        &format!("cp {dir}/ifcfg-enp0s3 {dir}/ifcfg-enp0s3.bak && systemctl restart network"),
    )
    .unwrap();
    // A gateway outside the subnet is dropped without a word.
    lab.sh(
        "two",
        &format!("sed -i 's/^GATEWAY=.*/GATEWAY=10.0.0.1/' {dir}/ifcfg-enp0s3 && systemctl restart network"),
    )
    .unwrap();
    assert_eq!(lab.sh("two", "ip route show default").unwrap(), "");
    // The other twin's address is in use, and ifup says so.
    lab.sh(
        "two",
        &format!("sed -i 's/^IPADDR=.*/IPADDR=198.18.7.201/' {dir}/ifcfg-enp0s3"),
    )
    .unwrap();
    assert!(lab.sh("two", "systemctl restart network").is_err());
    // That was the fifth start: systemd refuses the sixth within ten seconds, unless told to forget them.
    lab.sh("two", &format!("! ip -4 -o address show dev enp0s3 | grep -q 198.18.7.201; cp {dir}/ifcfg-enp0s3.bak {dir}/ifcfg-enp0s3; rm {dir}/ifcfg-enp0s3.bak; systemctl reset-failed network; systemctl restart network")).unwrap();
    lab.wait_for_ssh("two").unwrap();
}

/// Nothing of the lab is in this machine's own namespace, and nothing of the machine in the lab's.
fn isolation(lab: &Lab, before: &(BTreeSet<String>, String)) {
    let (interfaces, addresses) = own_network();
    assert_eq!(
        interfaces, before.0,
        "the lab put an interface into the machine's own namespace"
    );
    for address in [
        "198.18.7.201",
        "198.18.7.202",
        "198.18.7.1",
        "203.0.113.53",
        "198.51.100.11",
    ] {
        assert!(
            !addresses.contains(address),
            "{address} is in the machine's own namespace"
        );
    }
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    for namespace in [lab.bridge_namespace(), lab.controller_namespace()] {
        let links = Command::new("ip")
            .args(["-n", &namespace, "-o", "link"])
            .output()
            .unwrap();
        let links = String::from_utf8_lossy(&links.stdout).into_owned();
        let names: BTreeSet<&str> = links
            .lines()
            .filter_map(|l| l.split(": ").nth(1))
            .map(|n| n.split('@').next().unwrap())
            .collect();
        let expected: BTreeSet<&str> = if namespace == lab.bridge_namespace() {
            BTreeSet::from(["lo", "br0", "controller", "twin0if0", "twin1if0"])
        } else {
            BTreeSet::from(["lo", "eth0"])
        };
        assert_eq!(names, expected, "{namespace}");
        let routes = Command::new("ip")
            .args(["-n", &namespace, "route", "show", "default"])
            .output()
            .unwrap();
        assert!(routes.stdout.is_empty(), "{namespace} has a way out");
    }
    let theirs = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            lab.enter().unwrap();
            fs::read_link("/proc/thread-self/ns/net").unwrap()
        });
        inside.join().unwrap()
    });
    assert_ne!(ours, theirs);
    assert_eq!(
        ours,
        fs::read_link("/proc/thread-self/ns/net").unwrap(),
        "only the thread that enters moves"
    );
}

#[test]
fn a_killed_up_leaves_nothing_that_down_does_not_find() {
    if !runs_here() {
        return;
    }
    let name = format!("test-kill-{}", std::process::id());
    let guard = Guard(name.clone());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("inventory.yaml");
    fs::write(&file, inventory(&name)).unwrap();
    // The image must be there already: what is cut short here is the lab.
    Lab::up(spec(&inventory(&name)), UpOptions::default(), &mut |_| {})
        .unwrap()
        .down()
        .unwrap();
    nothing_is_left(&name);

    // Cut as soon as each of these exists, early to late; the last is never reached by accident.
    let state = format!("/run/hapair/lab/{name}");
    let marks = [
        state.clone(),
        format!("/run/netns/hp-{name}-ctl"),
        format!("{state}/controller/log"),
        format!("{state}/hosts/one/upper/etc/ssh/ssh_host_ecdsa_key.pub"),
        format!("{state}/hosts/one/console.log"),
        format!("{state}/known_hosts"),
    ];
    for mark in marks {
        let mut up = Command::new(env!("CARGO_BIN_EXE_hapair"))
            .arg("-i")
            .arg(&file)
            .args(["lab", "up"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until(&mark, || Path::new(&mark).exists() || up.try_wait().unwrap().is_some());
        up.kill().unwrap();
        up.wait().unwrap();
        lab::down(&name).unwrap();
        eprintln!("cut at {mark}");
        nothing_is_left(&name);
    }

    // An `up` over the ruins of another one starts clean.
    let mut up = Command::new(env!("CARGO_BIN_EXE_hapair"))
        .arg("-i")
        .arg(&file)
        .args(["lab", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mark = format!("{state}/hosts/two/console.log");
    until(&mark, || Path::new(&mark).exists());
    up.kill().unwrap();
    up.wait().unwrap();
    let lab = Lab::up(spec(&inventory(&name)), UpOptions::default(), &mut |_| {}).unwrap();
    assert!(lab.status().unwrap().is_whole());
    drop(guard);
    nothing_is_left(&name);
}

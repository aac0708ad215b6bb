//! What the daemon does beside VRRP: mail, metrics, FIFOs, delays, hardening, scripts. In a network namespace of each test's own.
//!
//! Needs root and ip(8); without them it says so and does nothing else (in CI it fails).
#![cfg(feature = "agent")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const VIP: &str = "10.77.0.99";

fn able() -> bool {
    // SAFETY: no arguments, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"]
        .iter()
        .any(|p| PathBuf::from(p).exists());
    if root && ip {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "needs root and ip(8), and CI must not leave it out"
    );
    eprintln!("SKIPPED: needs root and ip(8)");
    false
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host alone: `eth0` with 10.77.0.1, whose other end `wire0` is in the same namespace.
struct Host {
    net: Child,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Host {
        let net = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = Host {
            net,
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        until("a network namespace", || {
            fs::read_link(host.namespace()).is_ok_and(|n| n != ours)
        });
        host.ip("link set lo up");
        host.ip("link add name wire0 type veth peer name eth0");
        host.ip("link set wire0 up");
        host.ip("link set eth0 up");
        host.ip("addr add 10.77.0.1/24 dev eth0");
        host
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.net.id())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.net.id().to_string(), "-n", program])
            .stdin(Stdio::null());
        command
    }

    fn ip(&self, args: &str) -> String {
        let out = self.command("ip").args(args.split_whitespace()).output().unwrap();
        assert!(
            out.status.success(),
            "ip {args}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Runs in a thread that is in the namespace.
    fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        let namespace = fs::File::open(self.namespace()).unwrap();
        std::thread::spawn(move || {
            use std::os::fd::AsRawFd;
            // SAFETY: plain system call on an open descriptor; it concerns this thread alone.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            work()
        })
    }

    fn listen(&self) -> TcpListener {
        self.inside(|| TcpListener::bind("127.0.0.1:0").unwrap())
            .join()
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn write(&self, config: &str) {
        fs::write(self.path("keepalived.conf"), config).unwrap();
    }

    fn start(&mut self, config: &str, options: &[&str]) {
        self.write(config);
        let log = || {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.path("log"))
                .unwrap()
        };
        let mut command = self.command(env!("CARGO_BIN_EXE_hapair-agent"));
        command
            .arg("run")
            .arg("--config")
            .arg(self.path("keepalived.conf"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(options)
            .stdout(log())
            .stderr(log());
        // nsenter executes the daemon in its own place.
        self.daemon = Some(command.spawn().unwrap());
        until("the daemon answers", || !self.status().is_null());
    }

    fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    fn agent(&self, args: &[&str]) -> (String, bool) {
        let mut command = self.command(env!("CARGO_BIN_EXE_hapair-agent"));
        let out = command
            .args(args)
            .arg("--state-dir")
            .arg(self.path("state"))
            .output()
            .unwrap();
        (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.success())
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.agent(&["status", "--json"]).0).unwrap_or_default()
    }

    fn instance(&self) -> Value {
        self.status()["instances"][0].clone()
    }

    fn owns(&self) -> bool {
        self.ip("-o addr show dev eth0").contains(&format!(" {VIP}/"))
    }

    fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(daemon.id() as i32, libc::SIGTERM) };
        assert!(daemon.wait().unwrap().success(), "{}", self.read("log"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for child in self.daemon.iter_mut().chain([&mut self.net]) {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("{}", self.read("log"));
        }
    }
}

/// An instance that becomes owner after a third of a second.
fn instance(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n version 3\n advert_int 0.1\n priority 200\n\
         {more}\n virtual_ipaddress {{\n {VIP}/24\n }}\n}}\n"
    )
}

#[test]
fn mail_goes_out_on_every_transition_and_a_dead_server_is_said() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let server = host.listen();
    let port = server.local_addr().unwrap().port();
    let mails = std::thread::spawn(move || {
        let mut subjects = Vec::new();
        while !subjects.iter().any(|s: &String| s.contains("Stopping")) {
            let (stream, _) = server.accept().unwrap();
            let mut reader = BufReader::new(stream);
            reader.get_mut().write_all(b"220 hello\r\n").unwrap();
            let (mut data, mut line) = (false, String::new());
            while reader.read_line(&mut line).unwrap_or(0) > 0 {
                let text = std::mem::take(&mut line);
                if let Some(subject) = text.strip_prefix("Subject: ") {
                    subjects.push(subject.trim_end().to_owned());
                }
                let answer = match text.trim_end() {
                    "." => "250 kept\r\n",
                    _ if data => continue,
                    "DATA" => "354 go on\r\n",
                    "QUIT" => "221 bye\r\n",
                    _ => "250 ok\r\n",
                };
                data = text.trim_end() == "DATA";
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        }
        subjects
    });
    let global = |port: u16| {
        format!(
            "global_defs {{\n router_id node1\n notification_email {{\n ops@example.com\n }}\n smtp_alert\n \
             smtp_server 127.0.0.1 {port}\n smtp_connect_timeout 5\n}}\n"
        )
    };
    host.start(&(global(port) + &instance("")), &[]);
    until("owner", || host.instance()["state"] == "MASTER");
    host.stop();
    let subject = |what: &str| format!("[node1] VRRP Instance VI_1 - {what}");
    assert_eq!(
        mails.join().unwrap(),
        [
            subject("Entering BACKUP state"),
            subject("Entering MASTER state"),
            subject("Stopping")
        ]
    );
    // Nobody listens there any more.
    host.start(&(global(port) + &instance("")), &[]);
    until("the failure is logged", || {
        host.read("log").contains("mail is not sent") && host.read("log").contains("cannot connect")
    });
    until("the VIP does not care", || host.owns());
}

#[test]
fn metrics_are_served_over_http_and_nothing_else_is() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let free = host.listen().local_addr().unwrap();
    host.start(&instance(""), &["--metrics-listen", &free.to_string()]);
    let get = |request: &'static str| {
        let client = host.inside(move || {
            let mut stream = TcpStream::connect(free).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        client.join().unwrap()
    };
    until("owner", || {
        get("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").contains("hapair_master{instance=\"VI_1\"} 1\n")
    });
    assert!(get("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get("GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(get("GET /metrics HTTP/1.1\r\n\r\n").contains("hapair_build_info{version="));
    // A client that says nothing keeps nobody else waiting, and the daemon answers as before.
    let silent = host.inside(move || TcpStream::connect(free).unwrap()).join().unwrap();
    assert!(get("GET /metrics HTTP/1.1\r\n\r\n").contains("hapair_worst_timer_lag_seconds "));
    assert_eq!(host.instance()["state"], "MASTER");
    drop(silent);
    let refused = host.agent(&["run", "--metrics-listen", "nowhere"]);
    assert!(!refused.1);
}

#[test]
fn fifos_tell_states_priorities_and_deletions_to_their_script() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let (fifo, seen, number) = (host.path("fifo"), host.path("seen"), host.path("number"));
    fs::write(&number, "0\n").unwrap();
    let reader = host.path("reader.sh");
    fs::write(
        &reader,
        format!(
            "#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <\"$1\" >>{}\n",
            seen.display()
        ),
    )
    .unwrap();
    let global = format!(
        "global_defs {{\n script_user root\n vrrp_notify_fifo {}\n vrrp_notify_fifo_script \"/bin/sh {}\"\n \
         vrrp_notify_priority_changes\n fifo_write_vrrp_states_on_reload\n}}\n\
         track_file f {{\n file {}\n}}\n",
        fifo.display(),
        reader.display(),
        number.display()
    );
    let first = instance(" track_file {\n f\n }");
    let second = "vrrp_instance VI_2 {\n interface eth0\n virtual_router_id 52\n notify_deleted\n \
                  virtual_ipaddress {\n 10.77.0.98/24\n }\n}\n";
    let descriptors = |host: &Host| fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().count();
    host.start(&(global.clone() + &first + second), &[]);
    let lines = |host: &Host| host.read("seen");
    until("the owner's line", || {
        lines(&host).contains("INSTANCE \"VI_1\" MASTER 200\n")
    });
    fs::write(&number, "-20\n").unwrap();
    until("the priority's line", || {
        lines(&host).contains("INSTANCE \"VI_1\" MASTER_PRIORITY 180\n")
    });
    host.write(&(global.clone() + &first));
    assert!(host.agent(&["reload"]).1);
    until("the deletion's line", || {
        lines(&host).contains("INSTANCE \"VI_2\" DELETED ")
    });
    until("the states after the reload", || {
        lines(&host).contains("INSTANCE \"VI_1\" MASTER 180\n")
    });
    let before = descriptors(&host);
    for _ in 0..5 {
        assert!(host.agent(&["reload"]).1);
    }
    until("no descriptor is left over", || descriptors(&host) <= before);
    assert!(
        !host.read("log").contains("is started again"),
        "the reader runs on through reloads"
    );
    host.stop();
    assert!(
        lines(&host).ends_with("INSTANCE \"VI_1\" STOP 180\n"),
        "{}",
        lines(&host)
    );
}

#[test]
fn a_delayed_start_waits_but_leaves_no_old_address() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    host.ip(&format!("addr add {VIP}/24 dev eth0"));
    let delay = |seconds: &str| format!("global_defs {{\n vrrp_startup_delay {seconds}\n}}\n");
    host.start(&(delay("3600") + &instance("")), &[]);
    assert!(!host.owns(), "what a former life left is gone");
    assert_eq!(host.instance()["state"], "STOPPED");
    assert!(host.agent(&["reload"]).1);
    assert_eq!(host.instance()["state"], "STOPPED", "a reload does not cut it short");
    host.stop();
    host.start(&(delay("0.2") + &instance("")), &[]);
    until("owner", || host.owns());
}

#[test]
fn a_link_that_bounces_is_no_fault_while_its_delay_lasts() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let more = " track_interface {\n wire0 weight -10\n }";
    let delays = "interface_up_down_delays {\n eth0 255 0\n}\n";
    host.start(&(delays.to_owned() + &instance(more)), &[]);
    until("owner", || host.instance()["state"] == "MASTER");
    // Both ends lose their carrier; the one without a delay shows that the daemon knows.
    host.ip("link set wire0 down");
    until("the other end counts", || host.instance()["priority"] == 190);
    assert_ne!(host.instance()["state"], "FAULT");
    host.ip("link set wire0 up");
    until("both are back", || host.instance()["priority"] == 200);
    assert_eq!(host.instance()["statistics"]["left_master"], 0);
    // Without the delay it is a fault.
    host.write(&instance(more));
    assert!(host.agent(&["reload"]).1);
    host.ip("link set wire0 down");
    until("fault", || host.instance()["state"] == "FAULT");
}

#[test]
fn without_its_source_address_an_instance_is_in_fault() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    host.start(&instance(" mcast_src_ip 10.77.0.5\n track_src_ip"), &[]);
    until("fault", || host.instance()["state"] == "FAULT");
    host.ip("addr add 10.77.0.5/24 dev eth0");
    until("owner", || host.instance()["state"] == "MASTER");
    host.ip("addr del 10.77.0.5/24 dev eth0");
    until("fault again", || host.instance()["state"] == "FAULT");
}

#[test]
fn gratuitous_arps_are_spaced_and_all_sent() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let capture = host
        .inside(|| {
            let name = c"wire0";
            // SAFETY: plain system calls; the address is a valid sockaddr_ll, and the descriptor is ours.
            unsafe {
                let arp = (libc::ETH_P_ARP as u16).to_be();
                let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(arp));
                assert!(fd >= 0);
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = arp;
                address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
                let len = std::mem::size_of_val(&address) as u32;
                assert_eq!(libc::bind(fd, (&raw const address).cast(), len), 0);
                use std::os::fd::FromRawFd;
                fs::File::from_raw_fd(fd)
            }
        })
        .join()
        .unwrap();
    let reader = std::thread::spawn(move || {
        let (mut capture, mut frame) = (capture, [0u8; 128]);
        let mut times = Vec::new();
        while times.len() < 4 {
            let got = capture.read(&mut frame).unwrap();
            // Sender and target address are the VIP.
            if got >= 42 && frame[28..32] == [10, 77, 0, 99] && frame[38..42] == [10, 77, 0, 99] {
                times.push(Instant::now());
            }
        }
        times
    });
    let group = "garp_group {\n garp_interval 0.4\n interface eth0\n}\n";
    host.start(
        &(group.to_owned() + &instance(" garp_master_repeat 4\n garp_master_delay 0")),
        &[],
    );
    let times = reader.join().unwrap();
    // Half of the pause: what this test sees may be late, what was sent was not early.
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > Duration::from_millis(200), "{times:?}");
    }
    assert_eq!(
        host.instance()["statistics"]["left_master"],
        0,
        "adverts go on meanwhile"
    );
}

/// Scheduling policy of every thread, by its name.
fn policies(pid: u32) -> Vec<(String, u32)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let stats = threads.filter_map(|t| fs::read_to_string(t.path().join("stat")).ok());
    let mut all: Vec<(String, u32)> = stats
        .map(|s| {
            let (head, tail) = s.rsplit_once(')').unwrap();
            // proc(5): `policy` is field 41, the third is the first after the name.
            let policy = tail.split_whitespace().nth(41 - 3).unwrap().parse().unwrap();
            (head.split_once('(').unwrap().1.to_owned(), policy)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn only_the_packet_thread_is_real_time_and_scripts_are_ordinary() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let (seen, script) = (host.path("seen"), host.path("check.sh"));
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n{{ cat /proc/self/stat /proc/self/status; readlink /proc/$$/fd/*; echo PATH=$PATH; }} >{0}.new\nmv {0}.new {0}\n",
            seen.display()
        ),
    )
    .unwrap();
    let checks = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script chk {{\n script \"/bin/sh {}\"\n interval 0.2\n timeout 10\n}}\n",
        script.display()
    );
    host.start(
        &(checks + &instance(" track_script {\n chk\n }")),
        &["--rt-priority", "10", "--lock-memory"],
    );
    until("the script has run", || seen.exists());
    let text = host.read("seen");
    let policy = text.lines().next().unwrap().rsplit_once(')').unwrap().1;
    assert_eq!(policy.split_whitespace().nth(41 - 3), Some("0"), "{text}");
    assert!(text.contains("SigBlk:\t0000000000000000\n"), "{text}");
    for word in ["socket:", "eventpoll", "signalfd", "timerfd"] {
        assert!(!text.contains(word), "inherited: {text}");
    }
    assert!(text.contains("PATH=/"), "{text}");
    let log = host.read("log");
    let threads = policies(host.pid());
    for (name, policy) in &threads {
        let packet_thread = name.starts_with("hapair-agent");
        if packet_thread && log.contains("cannot have real-time priority") {
            assert!(log.contains("CAP_SYS_NICE"), "the warning has its hint: {log}");
            continue;
        }
        assert_eq!(*policy, if packet_thread { 2 } else { 0 }, "{threads:?}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let locked = status.lines().find_map(|l| l.strip_prefix("VmLck:")).unwrap();
    assert!(
        !locked.trim().starts_with("0 ") || log.contains("cannot lock the memory"),
        "{locked}"
    );
}

#[test]
fn a_check_that_runs_too_long_can_be_ended_in_peace() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let (seen, script) = (host.path("ended"), host.path("slow.sh"));
    // The shell's trap only works if SIGTERM is not blocked.
    fs::write(
        &script,
        format!(
            "trap 'touch {}; exit 1' TERM\nwhile :; do sleep 0.05; done\n",
            seen.display()
        ),
    )
    .unwrap();
    let checks = format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script slow {{\n script \"/bin/sh {}\"\n interval 1\n timeout 0.5\n weight -7\n}}\n",
        script.display()
    );
    host.start(&(checks + &instance(" track_script {\n slow\n }")), &[]);
    until("the timeout counts", || host.instance()["priority"] == 193);
    until("SIGTERM arrived", || seen.exists());
}

#[test]
fn the_status_names_how_processes_are_watched() {
    if !able() {
        return;
    }
    let mut host = Host::new();
    let program = host.path("hp-daemon");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut tracked = Command::new(&program).arg("300").spawn().unwrap();
    let rules = "vrrp_track_process p {\n process hp-daemon\n weight -10\n}\n";
    host.start(&(rules.to_owned() + &instance(" track_process {\n p\n }")), &[]);
    let by = host.status()["processes"]["watched_by"].clone();
    assert!(by == "pidfd" || by == "connector" || by == "poll", "{by}");
    assert_eq!(
        host.read("log").matches("processes are watched").count(),
        1,
        "said once"
    );
    until("it runs", || host.instance()["priority"] == 200);
    tracked.kill().unwrap();
    tracked.wait().unwrap();
    until("it is missed", || host.instance()["priority"] == 190);
    tracked = Command::new(&program).arg("300").spawn().unwrap();
    until("it is back", || host.instance()["priority"] == 200);
    tracked.kill().unwrap();
    tracked.wait().unwrap();
}

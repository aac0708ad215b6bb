//! Who is told: mail, metrics, FIFOs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::host::{Host, able, instance, until};

#[test]
fn mail_goes_out_on_every_transition_and_a_dead_server_is_said() {
    if !able(&[]) {
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
    if !able(&[]) {
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
    if !able(&[]) {
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
fn a_fifos_script_that_could_not_be_started_is_started_later() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let (fifo, seen, reader) = (host.path("fifo"), host.path("seen"), host.path("reader"));
    let global = format!(
        "global_defs {{\n script_user root\n vrrp_notify_fifo {}\n vrrp_notify_fifo_script {}\n}}\n",
        fifo.display(),
        reader.display()
    );
    host.start(&(global + &instance("")), &[]);
    until("it is said", || {
        host.read("log").contains("the FIFO's script is not run")
    });
    let program = format!("#!/bin/sh\nexec cat \"$1\" >>{}\n", seen.display());
    fs::write(host.path("new"), program).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(host.path("new"), mode).unwrap();
    fs::rename(host.path("new"), &reader).unwrap();
    // The kernel has kept the lines meanwhile.
    until("the owner's line", || {
        host.read("seen").contains("INSTANCE \"VI_1\" MASTER 200\n")
    });
    assert_eq!(
        host.read("log").matches("the FIFO's script is not run").count(),
        1,
        "said once"
    );
}

#[test]
fn a_fifo_is_not_opened_through_a_link() {
    if !able(&[]) {
        return;
    }
    let mut host = Host::new();
    let elsewhere = std::ffi::CString::new(host.path("elsewhere").to_str().unwrap()).unwrap();
    // SAFETY: a name that ends with its zero.
    assert_eq!(unsafe { libc::mkfifo(elsewhere.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink(host.path("elsewhere"), host.path("fifo")).unwrap();
    let global = format!(
        "global_defs {{\n vrrp_notify_fifo {}\n}}\n",
        host.path("fifo").display()
    );
    host.start(&(global + &instance("")), &[]);
    until("it is said", || host.read("log").contains("cannot open FIFO"));
    until("owner", || host.owns());
}

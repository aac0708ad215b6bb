//! The check of kind `restart`, run as it is written on a host: of a program of one's own only what root runs from that file counts.
//! (Units: tests/lab/its_nginx.rs, under a systemd of its own.)

mod left_out;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What tests/desired holds the rendered files against.
const RENDERED: &str = include_str!("golden/desired/source-build-el7/one.txt");
const BINARY: &str = "/usr/local/nginx/sbin/nginx";

/// The script of the host, with `binary` for the program. It finds no systemd to start anything.
fn script(binary: &Path) -> String {
    let begin = RENDERED
        .find("path: \"/usr/libexec/keepalived/ng-ng.sh\"")
        .expect("the script");
    let body = RENDERED[begin..].split("\n\n===").next().unwrap();
    let lines = body.lines().skip_while(|line| *line != "---").skip(1);
    let text: String = lines
        .map(|line| line.trim_start_matches("| ").trim_start_matches('|').to_owned() + "\n")
        .collect();
    assert!(text.starts_with("#!/bin/bash\n") && text.contains(BINARY), "{text}");
    let process = binary.file_name().unwrap().to_str().unwrap();
    let named = text
        .replace(BINARY, binary.to_str().unwrap())
        .replace("pgrep -x 'nginx'", &format!("pgrep -x '{process}'"));
    assert!(named.contains(&format!("pgrep -x '{process}'")), "{named}");
    named.replace("systemd-run", "false")
}

struct Running(Child);

impl Running {
    fn start(program: &Path, user: u32) -> Running {
        let mut command = Command::new(program);
        let child = command.arg("300").uid(user).gid(user).stdin(Stdio::null()).spawn();
        Running(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn sleep_as(path: &Path) {
    let new = path.with_extension("new");
    fs::copy("/bin/sleep", &new).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn of_a_program_of_ones_own_only_what_root_runs_from_that_file_counts() {
    if !left_out::able(&["bash", "pgrep"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::create_dir(at("other")).unwrap();
    let (ours, other) = (at("hp-checked"), at("other/hp-checked"));
    sleep_as(&ours);
    sleep_as(&other);
    let text = script(&ours);
    let good = || {
        let mut bash = Command::new("bash");
        let status = bash.args(["-c", &text]).stdin(Stdio::null()).status().unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        status.success()
    };
    assert!(!good(), "nothing runs");
    let _nobodys = Running::start(&ours, 65534);
    let _others = Running::start(&other, 0);
    assert!(!good(), "strangers of that name run");
    let running = Running::start(&ours, 0);
    assert!(good());
    // An upgrade: it goes on from the file that has been replaced.
    sleep_as(&ours);
    assert!(good());
    drop(running);
    assert!(!good());
    let _newer = Running::start(&ours, 0);
    assert!(good());
}

//! The command line as a new user meets it, without any host: exit codes, messages, and what the product is made of.

mod agent_limit;

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hapair(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hapair"))
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .output()
        .expect("hapair runs")
}

#[track_caller]
fn expect(output: &Output, code: i32, says: &[&str]) {
    let shown = format!(
        "-- stdout\n{}\n-- stderr\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{shown}");
    says.iter()
        .for_each(|text| assert!(shown.contains(text), "`{text}` is missing\n{shown}"));
}

const EXAMPLE: &str = include_str!("../inventory.example.yaml");

/// A folder with the example as its inventory, edited.
fn with_inventory(edits: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let mut text = EXAMPLE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "the example no longer has `{from}`");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(dir.path().join("inventory.yaml"), text).expect("written");
    dir
}

#[test]
fn a_bad_inventory_is_exit_code_2_and_points_at_the_line() {
    let dir = with_inventory(&[
        ("virtual_router_id: 51", "virtual_router_id: 256"),
        ("name: edge", "name: edge\nnonsense: 1"),
    ]);
    for command in [
        "render", "check", "plan", "apply", "status", "failover", "rollback", "remove",
    ] {
        let output = hapair(dir.path(), &[command, "--yes"]);
        expect(
            &output,
            2,
            &["nonsense", "virtual_router_id", "256", "inventory.yaml:", "^"],
        );
    }
    let output = hapair(dir.path(), &["plan", "--output", "json"]);
    let last = String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .map(str::to_owned)
        .expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!(
        (summary["type"].as_str(), summary["exit_code"].as_u64()),
        (Some("summary"), Some(2))
    );
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let dir = with_inventory(&[]);
    expect(&hapair(dir.path(), &["no-such-command"]), 2, &["no-such-command"]);
    expect(&hapair(dir.path(), &["render", "--host", "nobody"]), 2, &["nobody"]);
    // The ids that there are.
    for command in ["check", "plan", "apply"] {
        let unknown = hapair(dir.path(), &[command, "--accept", "everything"]);
        expect(&unknown, 2, &["everything", "vip-in-use", "vrrp-speaker", "port-taken"]);
    }
    expect(
        &hapair(dir.path(), &["failover", "--yes", "--report", "drill.txt"]),
        2,
        &["drill.txt", ".html"],
    );
    expect(
        &hapair(dir.path(), &["failover", "--yes", "--report", "nowhere/drill.html"]),
        2,
        &["nowhere/drill.html"],
    );
    expect(
        &hapair(dir.path(), &["-i", "missing.yaml", "plan"]),
        2,
        &["missing.yaml"],
    );
}

#[test]
fn what_would_ask_fails_without_a_terminal() {
    let dir = with_inventory(&[]);
    expect(&hapair(dir.path(), &["failover"]), 2, &["--yes"]);
}

#[test]
fn each_engine_gets_its_own_unit() {
    let dir = with_inventory(&[("engine: agent", "engine: agent\n  metrics_listen: 127.0.0.1:9112")]);
    let agent = hapair(dir.path(), &["render"]);
    expect(&agent, 0, &["hapair-agent.service", "--metrics-listen 127.0.0.1:9112"]);
    assert!(!String::from_utf8_lossy(&agent.stdout).contains("keepalived.service.d"));
    let dir = with_inventory(&[("engine: agent", "engine: keepalived")]);
    let keepalived = hapair(dir.path(), &["render"]);
    expect(
        &keepalived,
        0,
        &["/etc/systemd/system/keepalived.service.d/hapair.conf"],
    );
    assert!(!String::from_utf8_lossy(&keepalived.stdout).contains("/usr/local/sbin/hapair-agent"));
}

#[test]
fn a_file_that_is_not_a_plan_is_refused_before_any_host_is_asked() {
    let dir = with_inventory(&[]);
    expect(
        &hapair(dir.path(), &["apply", "missing.plan"]),
        2,
        &["missing.plan", "plan --out"],
    );
    expect(
        &hapair(dir.path(), &["apply", "inventory.yaml"]),
        2,
        &["inventory.yaml: not a saved plan"],
    );
}

#[test]
fn a_handover_holds_for_a_time_or_is_resumed() {
    let dir = with_inventory(&[]);
    expect(&hapair(dir.path(), &["handover", "--hold", "soon"]), 2, &["10m"]);
    expect(
        &hapair(dir.path(), &["handover", "--resume", "--hold", "5m"]),
        2,
        &["--resume"],
    );
}

#[test]
fn going_back_is_documented_and_takes_only_what_can_be_an_identifier() {
    let dir = with_inventory(&[]);
    expect(
        &hapair(dir.path(), &["rollback", "../../etc"]),
        2,
        &["identifier", "../../etc"],
    );
    expect(
        &hapair(dir.path(), &["rollback", "--confirm-timeout", "5"]),
        2,
        &["20..=3600"],
    );
    expect(
        &hapair(dir.path(), &["rollback", "--help"]),
        0,
        &["[TXN]", "--force", "the last run]"],
    );
    expect(
        &hapair(dir.path(), &["remove", "--help"]),
        0,
        &["--packages", "--force"],
    );
    expect(&hapair(dir.path(), &["apply", "--help"]), 0, &["--undo-on-failure"]);
}

#[test]
fn a_lock_is_broken_only_on_request_and_the_help_says_for_what() {
    let dir = with_inventory(&[]);
    for command in ["apply", "failover", "handover", "rollback", "remove"] {
        expect(&hapair(dir.path(), &[command, "--help"]), 0, &["--break-lock", command]);
    }
}

#[test]
fn render_shows_no_secret_and_writes_files_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = with_inventory(&[("auth_pass: \"1111\"", "auth_pass: \"s3cretpw\"")]);
    let shown = hapair(dir.path(), &["render"]);
    expect(&shown, 0, &["auth_pass ********", "virtual_router_id 51"]);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("s3cretpw"));
    expect(&hapair(dir.path(), &["render", "--out", "out"]), 0, &[]);
    let file = dir.path().join("out/nginx-master/etc/keepalived/keepalived.conf");
    assert!(
        std::fs::read_to_string(&file)
            .expect("written")
            .contains("auth_pass s3cretpw")
    );
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o077, 0);
}

/// Offset of the program headers, their size and number, of a 64-bit little-endian ELF file.
fn has_interpreter(elf: &[u8]) -> bool {
    let word = |at: usize, len: usize| {
        elf[at..at + len]
            .iter()
            .rev()
            .fold(0usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (offset, size, number) = (word(0x20, 8), word(0x36, 2), word(0x38, 2));
    const PT_INTERP: usize = 3;
    (0..number).any(|i| word(offset + i * size, 4) == PT_INTERP)
}

#[test]
fn the_agent_inside_the_command_line_is_static_and_small() {
    let dir = with_inventory(&[]);
    expect(&hapair(dir.path(), &["agent-binary", "agent"]), 0, &[]);
    let agent = std::fs::read(dir.path().join("agent")).expect("written");
    assert_eq!(&agent[..4], b"\x7fELF");
    assert!(!has_interpreter(&agent), "the agent needs a dynamic linker");
    assert!(agent.len() as u64 <= agent_limit::most_bytes(), "{} bytes", agent.len());
    let version = Command::new(dir.path().join("agent"))
        .arg("--version")
        .env_clear()
        .output()
        .expect("it runs");
    assert!(version.status.success());
}

#[test]
fn the_agent_links_neither_ssh_nor_tls_nor_templates() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-default-features",
            "--features",
            "agent",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree runs");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("nix v"), "{tree}");
    for stranger in [
        "ssh2",
        "libssh2-sys",
        "openssl",
        "tera ",
        "tokio ",
        "clap ",
        "indicatif",
    ] {
        assert!(
            !tree.lines().any(|l| l.starts_with(stranger)),
            "the agent depends on {stranger}:\n{tree}"
        );
    }
}

#[test]
fn completions_know_the_findings_that_can_be_accepted() {
    let dir = with_inventory(&[]);
    for shell in ["bash", "zsh", "fish"] {
        expect(
            &hapair(dir.path(), &["completions", shell]),
            0,
            &["vip-in-use", "interface-is-port"],
        );
    }
}

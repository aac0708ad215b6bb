//! Logging in with the keys of an SSH agent.

use super::*;

/// An SSH agent of the test's own.
struct Agent(i32, std::path::PathBuf);

impl Agent {
    fn start(sshd: &Sshd, keys: &[&str]) -> Agent {
        let socket = sshd.at("agent");
        let text = run(std::process::Command::new("ssh-agent").arg("-a").arg(&socket));
        let pid = text
            .split("SSH_AGENT_PID=")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let agent = Agent(pid, socket);
        for key in keys {
            run(std::process::Command::new("ssh-add")
                .arg("-q")
                .arg(sshd.at(key))
                .env("SSH_AUTH_SOCK", &agent.1));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        signal(self.0, "TERM");
    }
}

#[test]
fn every_key_of_the_agent_is_tried() {
    let sshd = sshd!();
    for (name, kind) in [("one", "ed25519"), ("two", "ecdsa")] {
        keygen(&sshd.at(name), &["-t", kind]);
    }
    let agent = Agent::start(&sshd, &["one", "two", "user"]);
    let lines = format!("IdentityAgent {}\nIdentityFile none", agent.1.display());
    let (target, tuning) = configured(&sshd, &lines);
    connect(&target, nobody(), tuning).unwrap();
    assert!(sshd.count("Failed publickey") >= 2, "{}", sshd.log());
    // IdentitiesOnly: the agent signs, but only with the key that is named, and needs only its public half.
    std::fs::rename(sshd.at("user"), sshd.at("moved")).unwrap();
    let before = sshd.count("Failed publickey");
    let named = format!(
        "{}\nIdentitiesOnly yes\nIdentityFile {}",
        lines.lines().next().unwrap(),
        sshd.at("user").display()
    );
    let (target, tuning) = configured(&sshd, &named);
    connect(&target, nobody(), tuning).unwrap();
    assert_eq!(sshd.count("Failed publickey"), before);
}

#[test]
fn too_many_keys_of_the_agent_are_explained() {
    let sshd = sshd!();
    let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    for name in &names {
        keygen(&sshd.at(name), &["-t", "ed25519"]);
    }
    let agent = Agent::start(&sshd, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let (target, tuning) = configured(
        &sshd,
        &format!("IdentityAgent {}\nIdentityFile none", agent.1.display()),
    );
    let said = fails(&target, nobody(), tuning);
    contains(&said, &["the server hung up", "MaxAuthTries", "ssh.identity_file"]);
}

#[test]
fn an_absent_agent_does_no_harm() {
    let sshd = sshd!();
    let (target, tuning) = configured(&sshd, "IdentityAgent /nonexistent/agent\nIdentityFile none");
    contains(
        &fails(&target, nobody(), tuning.clone()),
        &["SSH agent /nonexistent/agent: failed connecting with agent"],
    );
    let target = Target {
        identity_file: Some(sshd.at("user")),
        ..target
    };
    connect(&target, nobody(), tuning).unwrap();
}

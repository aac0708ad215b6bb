//! What OpenSSH's configuration says of a host, through `ssh -G`; the inventory wins over it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::knownhosts::lookup_name;
use super::target::Target;
use super::tuning::Tuning;
use crate::state::Error;

/// How long `ssh -G` may take; only a `Match exec` makes it slow.
const SSH_G_WITHIN: Duration = Duration::from_secs(5);

/// Everything about a connection, nothing left to look up.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolved {
    /// The name that host keys are filed under, as written in known_hosts.
    pub(super) known_as: String,
    /// Where the stream goes.
    pub(super) address: String,
    /// TCP port.
    pub(super) port: u16,
    /// Login.
    pub(super) user: String,
    /// Key files in order; the first `explicit` of them were named in the inventory.
    pub(super) identity_files: Vec<PathBuf>,
    /// How many of `identity_files` must exist.
    pub(super) explicit: usize,
    /// Of the agent's keys, only those whose public half lies beside an identity file.
    pub(super) identities_only: bool,
    /// The SSH agent's socket; `None`: no agent is asked.
    pub(super) agent: Option<PathBuf>,
    /// Files that are searched; new keys go into the first.
    pub(super) known_hosts: Vec<PathBuf>,
    /// New names are stored hashed.
    pub(super) hash_known_hosts: bool,
    /// ssh_config's StrictHostKeyChecking.
    pub(super) strict: Strict,
    /// Instead of a TCP connection.
    pub(super) proxy: Option<Proxy>,
    /// ssh_config's ConnectTimeout.
    pub(super) connect_timeout: Option<Duration>,
    /// What the operator should know if the connection fails.
    pub(super) notes: Vec<String>,
}

/// What becomes of an unknown host key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Strict {
    /// A person decides.
    #[default]
    Ask,
    /// Refused.
    Yes,
    /// Stored.
    AcceptNew,
}

/// A process that carries the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proxy {
    /// `ssh -W` through these hosts.
    Jump {
        /// As in ProxyJump.
        through: String,
        /// Further options for the child.
        ssh_options: Vec<String>,
    },
    /// A shell command, tokens expanded.
    Command(String),
}

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proxy::Jump { through, .. } => write!(f, "the jump host {through}"),
            Proxy::Command(_) => f.write_str("ssh_config's ProxyCommand"),
        }
    }
}

/// The operator's home directory.
pub(super) fn home() -> PathBuf {
    std::env::var_os("HOME")
        .filter(|h| !h.is_empty())
        .map_or_else(|| PathBuf::from("/root"), PathBuf::from)
}

/// A leading `~/` replaced by the home directory.
fn expand(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None => PathBuf::from(path),
    }
}

impl Resolved {
    /// Takes over what ssh itself makes of the operator's configuration. Returns `ProxyJump` and `ProxyCommand`.
    fn take(&mut self, config: &Answer<'_>, target: &Target) -> (Option<String>, Option<String>) {
        self.address = config.one("hostname").unwrap_or(&target.address).to_owned();
        // OpenSSH adds no port to an alias.
        self.known_as = config.one("hostkeyalias").unwrap_or_default().to_lowercase();
        self.port = config.one("port").and_then(|p| p.parse().ok()).unwrap_or(22);
        self.user = config.one("user").unwrap_or("root").to_owned();
        self.identity_files = config.all("identityfile").map(expand).collect();
        self.identities_only = config.one("identitiesonly") == Some("yes");
        self.known_hosts = ["userknownhostsfile", "globalknownhostsfile"]
            .iter()
            .flat_map(|key| config.one(key).unwrap_or_default().split_whitespace())
            .filter(|path| *path != "none" && *path != "/dev/null")
            .map(expand)
            .collect();
        self.hash_known_hosts = config.one("hashknownhosts") == Some("yes");
        self.strict = match config.one("stricthostkeychecking") {
            Some("true" | "yes") => Strict::Yes,
            // `no` would also go on with a changed key; hapair never does.
            Some("accept-new" | "false" | "no" | "off") => Strict::AcceptNew,
            _ => Strict::Ask,
        };
        self.connect_timeout = config
            .one("connecttimeout")
            .and_then(|t| t.parse().ok())
            .map(Duration::from_secs);
        let jump = config.one("proxyjump").filter(|j| *j != "none").map(str::to_owned);
        let command = config.one("proxycommand").filter(|c| *c != "none").map(str::to_owned);
        self.agent = match config.one("identityagent") {
            None | Some("SSH_AUTH_SOCK") => agent_from_environment(),
            Some("none") => None,
            Some(path) => match path.strip_prefix('$') {
                Some(name) => std::env::var_os(name).map(PathBuf::from),
                None => Some(expand(path)),
            },
        };
        (jump, command)
    }
}

/// Combines target and operator's configuration.
///
/// # Errors
/// `ssh -G` refuses the operator's configuration; the text is ssh's own.
pub(super) fn resolve(target: &Target, tuning: &Tuning) -> Result<Resolved, Error> {
    if target.address.is_empty() || target.address.starts_with('-') {
        return Err(Error::new(format!("`{}` is not an address", target.address)));
    }
    let mut out = Resolved::default();
    let (mut jump, mut command) = (None, None);
    let ssh_dir = home().join(".ssh");
    let answer = if target.use_operator_config {
        ssh_g(target, tuning)?
    } else {
        None
    };
    match answer {
        Some(text) => {
            (jump, command) = out.take(&Answer(&text), target);
        }
        None => {
            out.address.clone_from(&target.address);
            out.port = 22;
            out.user = "root".to_owned();
            if target.use_operator_config {
                out.agent = agent_from_environment();
                out.identity_files = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|n| ssh_dir.join(n)).to_vec();
                if ssh_dir.join("config").exists() {
                    let note = "`ssh` is not installed here, so ~/.ssh/config was not read".to_owned();
                    out.notes.push(note);
                }
            }
            out.known_hosts = vec![ssh_dir.join("known_hosts")];
        }
    }
    if out.known_hosts.is_empty() {
        out.known_hosts.push(ssh_dir.join("known_hosts"));
    }
    if let Some(port) = target.port {
        out.port = port;
    }
    if out.known_as.is_empty() {
        out.known_as = lookup_name(&out.address, out.port);
    }
    if let Some(user) = &target.user {
        out.user.clone_from(user);
    }
    if let Some(path) = &target.known_hosts {
        out.known_hosts = vec![path.clone()];
        out.hash_known_hosts = false;
    }
    if target.accept_new_host_keys {
        out.strict = Strict::AcceptNew;
    }
    if let Some(path) = &target.identity_file {
        out.identity_files.retain(|other| other != path);
        out.identity_files.insert(0, path.clone());
        out.explicit = 1;
    }
    out.proxy = match (target.proxy_jump.clone().or(jump), command) {
        (Some(through), _) => Some(Proxy::Jump {
            through,
            ssh_options: jump_options(target),
        }),
        (None, Some(line)) => Some(Proxy::Command(tokens(&line, target, &out))),
        (None, None) => None,
    };
    Ok(out)
}

/// Options for the ssh that goes through the jump host.
fn jump_options(target: &Target) -> Vec<String> {
    let mut ssh_options = Vec::new();
    if !target.use_operator_config {
        // The jump host's ssh is to know as little of the operator as we do.
        ssh_options.extend(["-F".to_owned(), "/dev/null".to_owned()]);
        if let Some(path) = &target.known_hosts {
            ssh_options.extend(["-o".to_owned(), format!("UserKnownHostsFile={}", path.display())]);
        }
        if let Some(path) = &target.identity_file {
            ssh_options.extend(["-i".to_owned(), path.display().to_string()]);
        }
    }
    ssh_options
}

fn agent_from_environment() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// ssh_config(5), TOKENS, as far as ProxyCommand knows them.
fn tokens(line: &str, target: &Target, to: &Resolved) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => match chars.next() {
                Some('h') => out.push_str(&to.address),
                Some('p') => out.push_str(&to.port.to_string()),
                Some('r') => out.push_str(&to.user),
                Some('n') => out.push_str(&target.address),
                Some('%') => out.push('%'),
                Some(other) => out.extend(['%', other]),
                None => out.push('%'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

/// `key value` lines.
struct Answer<'a>(&'a str);

impl<'a> Answer<'a> {
    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .lines()
            .filter_map(move |line| line.split_once(' ').filter(|(k, _)| *k == key).map(|(_, v)| v.trim()))
    }

    fn one(&self, key: &str) -> Option<&'a str> {
        self.all(key).next()
    }
}

/// Runs `ssh -G`; `None`: there is no `ssh`.
///
/// ssh's default login is the local user, and its answer does not tell a default from a choice. hapair's default is root,
/// so the configuration is read through one that includes the operator's and the system's and then says so: in
/// ssh_config the first value wins.
fn ssh_g(target: &Target, tuning: &Tuning) -> Result<Option<String>, Error> {
    let user_config = tuning
        .ssh_config
        .as_ref()
        .map_or_else(|| "~/.ssh/config".to_owned(), |p| p.display().to_string());
    let text = format!("Include {user_config}\nMatch all\nInclude /etc/ssh/ssh_config\nMatch all\nUser root\n");
    let file = unlinked_file(&text).map_err(|e| Error::new("cannot write a temporary file").because(e))?;
    let mut command = Command::new("ssh");
    command
        .args(["-G", "-F", "/dev/stdin"])
        .stdin(Stdio::from(file))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    command.arg("--").arg(&target.address);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::new("cannot run `ssh -G`").because(e)),
    };
    // Its output is a few kilobytes: it fits into a pipe.
    let end = Instant::now() + SSH_G_WITHIN;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            other => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::new(format!(
                    "`ssh -G {}` does not finish: {other:?}",
                    target.address
                )));
            }
        }
    };
    let mut out = Vec::new();
    let mut err = Vec::new();
    if let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) {
        let _ = stdout.read_to_end(&mut out);
        let _ = stderr.read_to_end(&mut err);
    }
    if !status.success() {
        let text = String::from_utf8_lossy(&err);
        let why = text
            .lines()
            .rfind(|l| !l.trim().is_empty())
            .unwrap_or("no reason given")
            .trim()
            .to_owned();
        let message = format!("`ssh -G {}` refuses your ssh configuration", target.address);
        return Err(Error::new(message).because(why));
    }
    Ok(Some(String::from_utf8_lossy(&out).into_owned()))
}

/// A file without a name, open at its beginning: `/dev/stdin` can be opened again and again on it.
fn unlinked_file(text: &str) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path: &Path = &std::env::temp_dir().join(format!(".hapair-ssh-config-{}-{count}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .read(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    std::fs::remove_file(path)?;
    file.write_all(text.as_bytes())?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

//! Proving who we are, in OpenSSH's order: key files named in the inventory, the SSH agent's keys, ssh_config's key files,
//! password.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh2::{ErrorCode, Session};

use super::ask::Ask;
use super::config::Resolved;
use super::deadline::Deadline;
use super::keyfile::{self, KeyFile};
use super::knownhosts::{fingerprint, key_type};
use crate::state::{Error, Secret};

/// sshd's MaxAuthTries is 6: after five refused keys there is one try left, and a password must still get it.
const REFUSALS_BEFORE_PASSWORD: usize = 5;
/// How often a person may mistype.
const TRIES: usize = 3;

/// Answers of a person that turned out right, for the next connection of this process: the confirm after a change of
/// the network must not ask again.
static REMEMBERED: LazyLock<Mutex<HashMap<String, Secret>>> = LazyLock::new(Mutex::default);
/// One person is asked one question at a time, and two hosts that need the same key ask once.
static ASKING: Mutex<()> = Mutex::new(());

fn remembered(key: &str) -> Option<Secret> {
    REMEMBERED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(key)
        .cloned()
}

fn remember(key: &str, secret: &Secret) {
    REMEMBERED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(key.to_owned(), secret.clone());
}

/// One attempt to be let in.
struct Auth<'a> {
    session: &'a Session,
    to: &'a Resolved,
    ask: &'a dyn Ask,
    deadline: &'a Deadline,
    report: Vec<String>,
    hints: Vec<String>,
    refusals: usize,
    offered: HashSet<Vec<u8>>,
    password_follows: bool,
}

/// What came of offering one key.
enum Offer {
    Accepted,
    Refused,
    /// The private half could not be used with that passphrase.
    BadPassphrase,
    /// The server knows the key, and cannot check signatures of it.
    NoCommonAlgorithm,
    /// The connection is gone.
    Gone(String),
}

/// Logs in.
///
/// # Errors
/// Says which methods were tried and why each failed.
pub(super) fn authenticate(
    session: &Session,
    to: &Resolved,
    password: Option<&Secret>,
    ask: &dyn Ask,
    deadline: &Deadline,
) -> Result<(), Error> {
    deadline.stage(format!("authenticating as {}", to.user));
    let mut auth = Auth {
        session,
        to,
        ask,
        deadline,
        report: Vec::new(),
        hints: Vec::new(),
        refusals: 0,
        offered: HashSet::new(),
        password_follows: password.is_some(),
    };
    match auth.run(password) {
        Ok(true) => Ok(()),
        Ok(false) => Err(auth.failure(None)),
        Err(gone) => Err(auth.failure(Some(gone))),
    }
}

/// Why a key file is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The inventory or ssh_config names it.
    Named,
    /// It is one of ssh's defaults, which need not exist.
    Default,
}

impl Auth<'_> {
    fn run(&mut self, password: Option<&Secret>) -> Result<bool, String> {
        let mut methods = None;
        if password.is_some() {
            // One round trip more, only for hosts with a password. Later it would count as a failed attempt.
            methods = self.methods()?;
            if self.session.authenticated() {
                return Ok(true);
            }
        }
        if methods.as_deref().is_none_or(|m| m.contains("publickey")) {
            let (named, others) = self.to.identity_files.split_at(self.to.explicit);
            for path in named {
                if self.key_file(path, Origin::Named)? {
                    return Ok(true);
                }
            }
            if self.agent()? {
                return Ok(true);
            }
            for path in others {
                if self.key_file(path, Origin::Default)? {
                    return Ok(true);
                }
            }
        } else {
            self.report.push("keys: the server takes none".to_owned());
        }
        if methods.is_none() {
            methods = self.methods()?;
        }
        self.passwords(password, methods.as_deref().unwrap_or_default())
    }

    /// What the server accepts; `None` when it does not say.
    fn methods(&mut self) -> Result<Option<String>, String> {
        match self.session.auth_methods(&self.to.user) {
            Ok(methods) => Ok(Some(methods.to_owned())),
            Err(e) if is_gone(&e) => Err(e.message().to_owned()),
            Err(_) => Ok(None),
        }
    }

    fn key_file(&mut self, path: &Path, origin: Origin) -> Result<bool, String> {
        let shown = path.display();
        let key = match keyfile::read(path) {
            Ok(key) => key,
            Err(why) if why.missing && origin == Origin::Default => return Ok(false),
            Err(why) => {
                self.report.push(format!("key {shown}: {:#}", why.error));
                self.hints.extend(why.error.hints);
                return Ok(false);
            }
        };
        if !self.may_offer(&format!("key {shown}")) {
            return Ok(false);
        }
        if key
            .public
            .as_ref()
            .is_some_and(|blob| !self.offered.insert(blob.clone()))
        {
            // The agent offered it already.
            return Ok(false);
        }
        let outcome = if key.encrypted {
            self.encrypted_key(path, &key)
        } else {
            self.offer(&key, None)
        };
        self.note(&format!("key {shown}"), outcome)
    }

    /// Offers the public half first; only a key that the server wants is worth a question.
    fn encrypted_key(&mut self, path: &Path, key: &KeyFile) -> Offer {
        let remember_as = format!("key {}", path.display());
        if let Some(known) = remembered(&remember_as) {
            return self.offer(key, Some(&known));
        }
        if key.public.is_some() {
            match self.offer(key, None) {
                Offer::BadPassphrase => {}
                other => return other,
            }
        }
        let deadline = self.deadline;
        // Held until the answer has proved right, so that the other host's thread finds it remembered.
        let _one = deadline.paused(|| ASKING.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(known) = remembered(&remember_as) {
            return self.offer(key, Some(&known));
        }
        for attempt in 1..=TRIES {
            let again = if attempt > 1 {
                format!(" (try {attempt} of {TRIES})")
            } else {
                String::new()
            };
            let prompt = format!("passphrase for key {}{again}", path.display());
            let Some(passphrase) = deadline.paused(|| self.ask.secret(&prompt)) else {
                break;
            };
            match self.offer(key, Some(&passphrase)) {
                Offer::BadPassphrase => {}
                other => {
                    remember(&remember_as, &passphrase);
                    return other;
                }
            }
        }
        self.hints
            .push(format!("load it into the SSH agent: ssh-add {}", path.display()));
        Offer::BadPassphrase
    }

    fn offer(&self, key: &KeyFile, passphrase: Option<&Secret>) -> Offer {
        let public = key.public.as_ref().map(|blob| {
            let kind = key_type(blob).unwrap_or_default();
            format!("{kind} {}", STANDARD.encode(blob))
        });
        let passphrase = passphrase.map(Secret::reveal);
        let result = self
            .session
            .userauth_pubkey_memory(&self.to.user, public.as_deref(), &key.text, passphrase);
        match result {
            // LIBSSH2_ERROR_*: -16 and -48 the private half cannot be read; -19 the server wanted the key and no good
            // signature came.
            Err(e) if key.encrypted && !is_gone(&e) && matches!(e.code(), ErrorCode::Session(-16 | -48 | -19)) => {
                Offer::BadPassphrase
            }
            result => judge(result),
        }
    }

    /// Keeps the last of the server's tries for the password.
    fn may_offer(&mut self, what: &str) -> bool {
        let may = !self.password_follows || self.refusals < REFUSALS_BEFORE_PASSWORD;
        if !may {
            self.report
                .push(format!("{what}: not offered, the last try is kept for the password"));
        }
        may
    }

    fn note(&mut self, what: &str, outcome: Offer) -> Result<bool, String> {
        let why = match outcome {
            Offer::Accepted => return Ok(true),
            Offer::Gone(why) => {
                self.refusals += 1;
                self.report.push(format!("{what}: the server hung up"));
                return Err(why);
            }
            Offer::Refused => "not accepted by the server",
            Offer::BadPassphrase => "encrypted, and no right passphrase was given",
            Offer::NoCommonAlgorithm => {
                self.hints.push(
                    "the server takes RSA signatures with SHA-1 only (CentOS 7.3 and older): use an ed25519 key"
                        .to_owned(),
                );
                "no signature algorithm in common with the server"
            }
        };
        self.refusals += 1;
        self.report.push(format!("{what}: {why}"));
        Ok(false)
    }

    /// Every identity of the agent, not only the first; with IdentitiesOnly those that a key file stands for.
    fn agent(&mut self) -> Result<bool, String> {
        let Some(socket) = self.to.agent.clone() else {
            return Ok(false);
        };
        let identities = |session: &Session| {
            let mut agent = session.agent()?;
            agent.set_identity_path(&socket)?;
            agent.connect()?;
            agent.list_identities()?;
            let keys = agent.identities()?;
            Ok::<_, ssh2::Error>((agent, keys))
        };
        let (agent, mut keys) = match identities(self.session) {
            Ok(both) => both,
            Err(e) => {
                self.report
                    .push(format!("SSH agent {}: {}", socket.display(), e.message()));
                return Ok(false);
            }
        };
        let named: Vec<Vec<u8>> = self
            .to
            .identity_files
            .iter()
            .filter_map(|path: &PathBuf| public_half(path.as_path()))
            .collect();
        if self.to.identities_only {
            keys.retain(|key| named.iter().any(|blob| blob == key.blob()));
        }
        // Those that the configuration names are the likeliest, and tries are few.
        keys.sort_by_key(|key| named.iter().position(|blob| blob == key.blob()).unwrap_or(usize::MAX));
        if keys.is_empty() {
            self.report.push("SSH agent: holds no key".to_owned());
        }
        for key in &keys {
            let what = format!("agent key {} {}", key.comment(), fingerprint(key.blob()));
            if self.offered.contains(key.blob()) || !self.may_offer(&what) {
                continue;
            }
            self.offered.insert(key.blob().to_vec());
            let outcome = judge(agent.userauth(&self.to.user, key));
            if self.note(&what, outcome)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn passwords(&mut self, configured: Option<&Secret>, methods: &str) -> Result<bool, String> {
        let takes = methods.contains("password") || methods.contains("keyboard-interactive");
        if !takes {
            if configured.is_some() {
                self.report
                    .push(format!("password: the server takes none, only {methods}"));
                self.hints
                    .push("allow PasswordAuthentication in sshd_config, or use a key".to_owned());
            }
            return Ok(false);
        }
        if let Some(password) = configured {
            return self.password(password, methods);
        }
        let login = format!("{}@{}", self.to.user, self.to.address);
        let remember_as = format!("password {login}:{}", self.to.port);
        if let Some(password) = remembered(&remember_as) {
            return self.password(&password, methods);
        }
        let deadline = self.deadline;
        for attempt in 1..=TRIES {
            let again = if attempt > 1 {
                format!(" (try {attempt} of {TRIES})")
            } else {
                String::new()
            };
            let answer = deadline.paused(|| {
                let _one = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
                self.ask.secret(&format!("password of {login}{again}"))
            });
            let Some(password) = answer else {
                self.report.push("password: none given".to_owned());
                return Ok(false);
            };
            if self.password(&password, methods)? {
                remember(&remember_as, &password);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn password(&mut self, password: &Secret, methods: &str) -> Result<bool, String> {
        let what = if methods.split(',').any(|m| m == "password") {
            "password"
        } else {
            "keyboard-interactive"
        };
        let result = match what {
            "password" => self.session.userauth_password(&self.to.user, password.reveal()),
            _ => self
                .session
                .userauth_keyboard_interactive(&self.to.user, &mut OneAnswer(password)),
        };
        let result = match result {
            // -15: the password is right and has expired.
            Err(e) if e.code() == ErrorCode::Session(-15) => {
                self.report.push(format!("{what}: right, but it has expired"));
                self.hints.push("log in once by hand and change it".to_owned());
                return Ok(false);
            }
            other => judge(other),
        };
        if let Offer::Refused = result {
            if self.to.user == "root" {
                self.hints.push(
                    "CentOS 9 and later let root in by key only (PermitRootLogin prohibit-password): \
                     ssh-copy-id as root, or log in as another user with `ssh.become`"
                        .to_owned(),
                );
            } else {
                self.hints.push("check the password with `ssh` by hand".to_owned());
            }
        }
        self.note(what, result)
    }

    fn failure(self, gone: Option<String>) -> Error {
        let mut hints = self.hints;
        let tried = if self.report.is_empty() {
            "no key or password to try".to_owned()
        } else {
            self.report.join("; ")
        };
        let message = match gone {
            None => format!("login as {} was refused ({tried})", self.to.user),
            Some(why) => format!("the server ended the login as {} ({tried}): {why}", self.to.user),
        };
        if self.refusals >= REFUSALS_BEFORE_PASSWORD {
            hints.push(
                "sshd hangs up after MaxAuthTries (6) keys: name the right one with `ssh.identity_file`".to_owned(),
            );
        }
        if self.to.identity_files.is_empty() && self.to.agent.is_none() {
            hints.push("give `ssh.identity_file` or `ssh.password`, or start an SSH agent".to_owned());
        } else if hints.is_empty() {
            let port = if self.to.port == 22 {
                String::new()
            } else {
                format!("-p {} ", self.to.port)
            };
            hints.push(format!(
                "install your public key: ssh-copy-id {port}{}@{}",
                self.to.user, self.to.address
            ));
        }
        hints.extend(self.to.notes.iter().cloned());
        hints.dedup();
        Error::new(message).with_hints(hints)
    }
}

/// The public half of a key file, without a passphrase.
fn public_half(path: &Path) -> Option<Vec<u8>> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let line = std::fs::read_to_string(beside).ok();
    line.and_then(|line| keyfile::public_of_line(&line))
        .or_else(|| keyfile::read(path).ok()?.public)
}

/// The connection ended, as against: the server said no.
fn is_gone(error: &ssh2::Error) -> bool {
    // LIBSSH2_ERROR_SOCKET_SEND, TIMEOUT, SOCKET_DISCONNECT, SOCKET_RECV, BAD_SOCKET.
    let code = matches!(error.code(), ErrorCode::Session(-7 | -9 | -13 | -43 | -45));
    // libssh2 maps a lost connection while it waits for the answer to -19, with this text.
    code || error.message().starts_with("Waiting for")
}

/// Answers every prompt of keyboard-interactive that hides its answer with the password.
struct OneAnswer<'a>(&'a Secret);

impl ssh2::KeyboardInteractivePrompt for OneAnswer<'_> {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[ssh2::Prompt<'a>]) -> Vec<String> {
        prompts
            .iter()
            .map(|p| {
                if p.echo {
                    String::new()
                } else {
                    self.0.reveal().to_owned()
                }
            })
            .collect()
    }
}

fn judge(result: Result<(), ssh2::Error>) -> Offer {
    match result {
        Ok(()) => Offer::Accepted,
        Err(e) if is_gone(&e) => Offer::Gone(e.message().to_owned()),
        // LIBSSH2_ERROR_*: -51 and -33 no algorithm in common; everything else, as -18, is a refusal.
        Err(e) if matches!(e.code(), ErrorCode::Session(-51 | -33)) => Offer::NoCommonAlgorithm,
        Err(_) => Offer::Refused,
    }
}

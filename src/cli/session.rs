//! From arguments to a connected pair: inventory, templates, secrets, targets.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::args::Global;
use super::error::Failure;
use super::exit::Exit;
use super::secrets;
use super::ui::{Ui, ask_yes};
use crate::desired::Templates;
use crate::inventory::{Inventory, SecretSource};
use crate::lab::Lab;
use crate::remote::{self, Ask, Target};
use crate::rollout::{Context, Interrupt, Pair};
use crate::state::Secret;
use crate::state::frame::{IfHeld, Operator};

/// What every command reads before it does anything.
pub(crate) struct Session {
    pub(crate) inventory: Inventory,
    pub(crate) templates: Templates,
    global: Global,
}

/// Where the inventory is unless told otherwise.
const DEFAULT_INVENTORY: &str = "inventory.yaml";

impl Session {
    /// Reads inventory and templates; touches no host.
    pub(crate) fn load(global: &Global) -> Result<Session, Failure> {
        Session::load_or(global, DEFAULT_INVENTORY)
    }

    /// The same with another default inventory.
    pub(crate) fn load_or(global: &Global, default: &str) -> Result<Session, Failure> {
        let path = global.inventory.clone().unwrap_or_else(|| PathBuf::from(default));
        let inventory = Inventory::load(&path)?;
        let templates = match &global.templates {
            Some(directory) => Templates::with_overrides(directory).map_err(|e| e.with_kind(Exit::Usage))?,
            None => Templates::embedded(),
        };
        Ok(Session {
            inventory,
            templates,
            global: global.clone(),
        })
    }

    /// Everything a rollout needs. Asks for secrets that the inventory leaves to a prompt.
    pub(crate) fn context<'a>(&'a self, ui: &'a Ui) -> Result<Context<'a>, Failure> {
        let ask: Arc<dyn Ask> = Arc::new(Terminal {
            one_at_a_time: Mutex::new(()),
        });
        let mut prompt = |text: &str| ask.secret(text);
        let secrets = secrets::vrrp(&self.inventory, &mut prompt)?;
        let ssh = &self.inventory.ssh;
        let mut resolve = |source: &SecretSource| secrets::resolve(&self.inventory, source, &mut prompt);
        let login = remote::Secrets {
            password: ssh.password.as_ref().map(&mut resolve).transpose()?,
            become_password: ssh
                .r#become
                .as_ref()
                .and_then(|b| b.password.as_ref())
                .map(&mut resolve)
                .transpose()?,
        };
        let mut targets =
            self.inventory.hosts.each_ref().map(|host| {
                Target::from_inventory(&self.inventory, &host.name, &login).expect("a host of this inventory")
            });
        for target in &mut targets {
            target.connect_timeout = Duration::from_secs(self.global.connect_timeout);
            target.accept_new_host_keys = self.global.accept_new_host_keys;
        }
        if self.global.lab {
            let lab = Lab::open(&self.inventory.name).map_err(Failure::from)?;
            targets.iter_mut().for_each(|target| aim_at_twin(target, &lab));
        }
        Ok(Context {
            inventory: &self.inventory,
            targets,
            ask,
            templates: &self.templates,
            secrets,
            observer: ui,
        })
    }

    /// How the lock on the hosts names this run, and whether it gives way.
    pub(crate) fn operator(&self) -> Operator {
        let if_held = if self.global.break_lock {
            IfHeld::Break
        } else {
            IfHeld::Refuse
        };
        Operator { if_held, ..operator() }
    }

    /// A connected pair with its plans.
    pub(crate) async fn planned_pair(&self, cx: &mut Context<'_>) -> Result<Pair, Failure> {
        let mut pair = Pair::connect(cx).await?;
        pair.plan(cx.observer).await?;
        Ok(pair)
    }
}

/// The operator's keys, configuration and known hosts have no business with a twin, and a twin's key none elsewhere.
fn aim_at_twin(target: &mut Target, lab: &Lab) {
    target.identity_file = Some(lab.identity_file());
    target.known_hosts = Some(lab.known_hosts());
    target.use_operator_config = false;
    target.accept_new_host_keys = false;
    target.proxy_jump = None;
    if let Some(address) = lab.ssh_address(&target.host) {
        target.address = address;
    }
}

/// Counts Ctrl-C from now on. Before this is called Ctrl-C ends the process as by default, so a command calls it when
/// there is something to revert, and not before its last question.
pub(crate) fn interrupts() -> Result<Interrupt, Failure> {
    let (sender, interrupt) = Interrupt::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, listening) = std::sync::mpsc::channel();
    // A thread of its own: the signal counts also while another thread boots twins or reads the terminal.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
            let _ = ready.send(());
            let Ok(mut signals) = signals else { return };
            while signals.recv().await.is_some() {
                sender.ask();
            }
        });
    })?;
    let _ = listening.recv();
    Ok(interrupt)
}

/// Does something that holds nothing to roll back, unless the operator asks to stop meanwhile.
pub(crate) async fn unless_interrupted<T>(
    interrupt: Option<&Interrupt>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(interrupt) = interrupt else { return work.await };
    tokio::select! {
        result = work => result,
        () = interrupt.more_than(0) => Err(Failure::new(Exit::Failed, "interrupted; nothing was changed")),
    }
}

/// How the lock on the hosts names us.
fn operator() -> Operator {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "unknown".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let run = format!("{}-{}", now.as_nanos(), std::process::id());
    Operator {
        name: format!("{user}@{}", machine.trim()),
        run,
        if_held: IfHeld::Refuse,
    }
}

/// Questions on the operator's terminal, one at a time though the hosts' threads ask at once.
struct Terminal {
    one_at_a_time: Mutex<()>,
}

impl Ask for Terminal {
    fn accept_host_key(&self, host: &str, key_type: &str, fingerprint: &str) -> bool {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(|p| p.into_inner());
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return false;
        }
        ask_yes(&format!(
            "{host}: unknown {key_type} host key {fingerprint}\ncompare it with the host's console; trust it?"
        ))
    }

    fn secret(&self, prompt: &str) -> Option<Secret> {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(|p| p.into_inner());
        if !std::io::stdin().is_terminal() {
            return None;
        }
        rpassword::prompt_password(format!("{prompt}: ")).ok().map(Secret::new)
    }
}

//! Which C library the agent is linked with: musl, where its Rust target is there or can be had, else glibc.
//!
//! `rustup target add` changes the toolchain of whoever builds, which a build script should not do without need. Here it does,
//! because the first command of a newcomer is `cargo run`, and the agent it carries to the hosts should be the one that the tests
//! measure. A rust-toolchain.toml with `targets` was the alternative: offline it fails the build instead of falling back, and
//! RUSTUP_AUTO_INSTALL=0 turns it off in silence. Without rustup, without a network or without the right to write into the
//! toolchain the build goes on with glibc and says so; HAPAIR_AGENT_TARGET chooses beforehand, and then nothing is added.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The target linked with musl.
pub(crate) const MUSL: &str = "x86_64-unknown-linux-musl";
/// The target linked with glibc, statically too.
pub(crate) const GNU: &str = "x86_64-unknown-linux-gnu";
/// The variable that chooses one of the two.
pub(crate) const CHOICE: &str = "HAPAIR_AGENT_TARGET";

/// The programs that are asked.
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) rustc: OsString,
    /// What could add a target to the compiler's toolchain, with its first arguments; else why nothing can.
    pub(crate) rustup: Result<Vec<OsString>, &'static str>,
    /// How long adding may keep the build waiting.
    pub(crate) patience: Duration,
}

/// What was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// [`MUSL`] or [`GNU`].
    pub(crate) target: &'static str,
    /// What changes when the target appears after all: cargo runs the build script again then.
    pub(crate) watch: Option<PathBuf>,
    /// Why it is not musl, for a warning.
    pub(crate) instead: Option<String>,
}

impl Toolchain {
    /// The one that cargo runs this build with.
    pub(crate) fn of_cargo() -> Toolchain {
        // rustup's own cargo says so which toolchain this is; another one's must not be touched.
        let toolchain = env::var_os("RUSTUP_TOOLCHAIN").ok_or("rustup does not run this build");
        let offline = env::var_os("CARGO_NET_OFFLINE").is_some_and(|offline| offline == "true");
        let toolchain = if offline { Err("cargo is offline") } else { toolchain };
        let rustup = toolchain.map(|name| {
            [
                "rustup".into(),
                "target".into(),
                "add".into(),
                "--toolchain".into(),
                name,
            ]
            .to_vec()
        });
        Toolchain {
            rustc: env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()),
            rustup,
            patience: Duration::from_secs(120),
        }
    }

    /// Chooses, and adds the musl target if it is missing. `notes` is a directory for a lock and for what rustup says.
    pub(crate) fn choose(&self, wanted: Option<&str>, notes: &Path) -> Chosen {
        let chosen = |target, instead| Chosen {
            target,
            watch: None,
            instead,
        };
        match wanted {
            Some(GNU) => return chosen(GNU, None),
            Some(MUSL) => return chosen(MUSL, None),
            Some(other) => panic!("{CHOICE} is {other}: it can be {MUSL} or {GNU}"),
            None => {}
        }
        let Some(libraries) = self.libraries() else {
            return chosen(GNU, Some("rustc does not know the musl target".to_owned()));
        };
        if has_std(&libraries) {
            return chosen(MUSL, None);
        }
        let Err(why) = self.add(&libraries, notes) else {
            return chosen(MUSL, None);
        };
        // …/lib/rustlib/TARGET/lib. A path that is not there would make cargo run the script every time; the list of components is
        // there and is written anew by whatever adds one, and where no list is kept the directory above the target's is looked through.
        let rustlib = libraries.ancestors().nth(2).unwrap_or(&libraries);
        let list = rustlib.join("components");
        Chosen {
            target: GNU,
            watch: Some(if list.exists() { list } else { rustlib.to_owned() }),
            instead: Some(why),
        }
    }

    /// Where the target's standard library is, or would be.
    fn libraries(&self) -> Option<PathBuf> {
        let out = Command::new(&self.rustc)
            .args(["--print", "target-libdir", "--target", MUSL])
            .output()
            .ok()?;
        let text = String::from_utf8(out.stdout).ok()?;
        (out.status.success() && !text.trim().is_empty()).then(|| PathBuf::from(text.trim()))
    }

    /// Adds the target. Else why not.
    fn add(&self, libraries: &Path, notes: &Path) -> Result<(), String> {
        let rustup = self.rustup.as_ref();
        let rustup = rustup.map_err(|why| format!("the musl target is not installed, and {why}"))?;
        let (program, first) = rustup.split_first().ok_or("no program")?;
        let failed = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
        fs::create_dir_all(notes).map_err(failed("cannot make the directory of the agent's build"))?;
        // Two builds at once must not add it at once.
        let lock = File::create(notes.join("rustup.lock")).map_err(failed("cannot make a lock"))?;
        lock.lock().map_err(failed("cannot lock"))?;
        if has_std(libraries) {
            return Ok(());
        }
        let said = notes.join("rustup.log");
        let log = File::create(&said).map_err(failed("cannot write rustup's log"))?;
        let mut child = Command::new(program)
            .args(first)
            .arg(MUSL)
            // Not cargo's own streams: cargo waits until they are closed, and rustup may outlive this.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(failed("the musl target is not installed, and rustup cannot be run"))?;
        let end = Instant::now() + self.patience;
        let status = loop {
            match child.try_wait().map_err(failed("cannot wait for rustup"))? {
                Some(status) => break status,
                // Not killed: half a target would be worse than none. The next build finds what it brings.
                None if Instant::now() >= end => {
                    let seconds = self.patience.as_secs();
                    return Err(format!("rustup has not brought the musl target within {seconds} s"));
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        if status.success() && has_std(libraries) {
            return Ok(());
        }
        let text = fs::read_to_string(&said).unwrap_or_default();
        let last = text.lines().rev().find(|line| line.starts_with("error:"));
        let last = last.or(text.lines().next_back()).unwrap_or("no word from it");
        Err(format!("rustup cannot add the musl target: {last}"))
    }
}

/// The target's standard library is installed.
fn has_std(libraries: &Path) -> bool {
    let mut entries = fs::read_dir(libraries).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

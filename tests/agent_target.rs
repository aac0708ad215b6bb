//! The build links the agent with musl where it can, says so where it cannot, and notices when it can.

// What the build script itself asks cargo for is not used here.
#[allow(dead_code)]
#[path = "../src/payload/agent_target.rs"]
mod agent_target;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use agent_target::{CHOICE, Chosen, GNU, MUSL, Toolchain};

/// A toolchain whose compiler only says where its libraries would be, in a directory of its own. One at a time: a program that is
/// being written cannot be executed, and a child of another test would keep it open.
struct Fake {
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Fake {
    fn new() -> Fake {
        let fake = Fake {
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(fake.rustlib()).unwrap();
        fs::write(fake.rustlib().join("components"), "rust-std-x86_64-unknown-linux-gnu\n").unwrap();
        // An hour ago, so that a change of it can be seen.
        let then = SystemTime::now() - Duration::from_secs(3600);
        let components = fs::File::options().write(true).open(fake.rustlib().join("components"));
        components.unwrap().set_modified(then).unwrap();
        fake.program("rustc", &format!("echo {}", fake.libraries().display()));
        fake
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rustlib(&self) -> PathBuf {
        self.at("lib/rustlib")
    }

    fn libraries(&self) -> PathBuf {
        self.rustlib().join(MUSL).join("lib")
    }

    fn program(&self, name: &str, body: &str) {
        fs::write(self.at(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What a rustup does that can add the target: the libraries, then the list.
    fn adding(&self) -> String {
        let (libraries, list) = (self.libraries(), self.rustlib().join("components"));
        let (libraries, list) = (libraries.display(), list.display());
        format!("mkdir -p {libraries} && touch {libraries}/libstd-1.rlib && echo rust-std-\"$2\" >>{list}")
    }

    /// With a rustup of this body; `None`: without one.
    fn choose(&self, rustup: Option<&str>, patience: Duration, wanted: Option<&str>) -> Chosen {
        let command = rustup.map(|body| {
            self.program("rustup", body);
            vec![OsString::from(self.at("rustup")), "add".into()]
        });
        let toolchain = Toolchain {
            rustc: self.at("rustc").into(),
            rustup: command.ok_or("there is none"),
            patience,
        };
        toolchain.choose(wanted, &self.at("notes"))
    }
}

const LONG: Duration = Duration::from_secs(60);

fn changed(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn a_target_that_is_there_is_taken_and_one_that_can_be_had_is_added_once() {
    let fake = Fake::new();
    let musl = Chosen {
        target: MUSL,
        watch: None,
        instead: None,
    };
    let adding = format!("echo asked >>{}\n{}", fake.at("asked").display(), fake.adding());
    assert_eq!(fake.choose(Some(&adding), LONG, None), musl);
    assert_eq!(fake.choose(Some(&adding), LONG, None), musl);
    assert_eq!(fs::read_to_string(fake.at("asked")).unwrap(), "asked\n");
    assert_eq!(fake.choose(None, LONG, None), musl, "nobody need be asked");
}

#[test]
fn without_it_the_build_continues_with_glibc_and_notices_when_it_appears() {
    for rustup in [
        None,
        Some("echo 'error: could not download file' >&2; exit 1"),
        // It says that all is well, and nothing is there.
        Some("exit 0"),
    ] {
        let fake = Fake::new();
        let chosen = fake.choose(rustup, LONG, None);
        assert_eq!(chosen.target, GNU, "{rustup:?}");
        let why = chosen.instead.expect("a reason");
        let downloads = rustup.is_some_and(|body| body.contains("download"));
        assert!(!downloads || why.contains("could not download file"), "{why}");
        // Later somebody adds it by hand: what cargo was told to watch is newer than the build.
        let watch = chosen.watch.expect("something to watch");
        let before = changed(&watch);
        fake.program("by-hand", &fake.adding());
        assert!(
            std::process::Command::new(fake.at("by-hand"))
                .arg("add")
                .arg(MUSL)
                .status()
                .unwrap()
                .success()
        );
        assert!(changed(&watch) > before, "cargo would not notice");
        assert_eq!(fake.choose(None, LONG, None).target, MUSL);
    }
}

#[test]
fn where_no_list_of_components_is_kept_the_directory_is_watched() {
    let fake = Fake::new();
    fs::remove_file(fake.rustlib().join("components")).unwrap();
    assert_eq!(fake.choose(None, LONG, None).watch, Some(fake.rustlib()));
}

#[test]
fn a_rustup_that_hangs_keeps_no_build_waiting() {
    let fake = Fake::new();
    let begun = Instant::now();
    let chosen = fake.choose(Some("exec sleep 30"), Duration::from_millis(300), None);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(chosen.target, GNU);
    assert!(chosen.watch.is_some() && chosen.instead.is_some());
}

#[test]
fn a_chosen_target_is_used_and_nothing_is_added() {
    let fake = Fake::new();
    for target in [GNU, MUSL] {
        let chosen = fake.choose(Some(&fake.adding()), LONG, Some(target));
        assert_eq!((chosen.target, chosen.instead, chosen.watch), (target, None, None));
    }
    assert!(!fake.libraries().exists());
    let nonsense = std::panic::catch_unwind(|| fake.choose(None, LONG, Some("sparc")));
    let said = nonsense.expect_err("refused");
    let said = said.downcast_ref::<String>().expect("words");
    assert!(said.contains(CHOICE) && said.contains("sparc"), "{said}");
}

//! What a test cannot do here, said so that it does not read as passed: on the terminal, and in the file that `HAPAIR_LEFT_OUT` names,
//! which tests/run counts at its end. In CI nothing may be missing.
#![allow(dead_code)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where an administrator's programs are, which the PATH of an ordinary user does not name.
const ELSEWHERE: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// The program that a command of that name is: by PATH, as any shell finds it, and then where the administrator's are.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(ELSEWHERE.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| is_program(file))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether the running test has root and those programs; says so if not, and fails in CI.
pub(crate) fn able(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| program(name).is_none());
    let why = match (is_root(), missing) {
        (false, _) => "root",
        (_, Some(name)) => name,
        _ => return true,
    };
    missing_here(why);
    false
}

/// The running test, or a part of it, is left out because something is missing that should be there.
pub(crate) fn missing_here(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "needs {what}, and CI must not leave it out"
    );
    say(&format!("needs {what}"));
}

/// The running test is made for something else than what is here.
pub(crate) fn not_made_for(what: &str) {
    say(&format!("is not made for {what}"));
}

fn say(why: &str) {
    let thread = std::thread::current();
    let file = std::env::current_exe().unwrap_or_default();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // As cargo names it: without the hash.
    let suite = stem.rsplit_once('-').map_or(&*stem, |(name, _)| name);
    let line = format!("{suite} {}: {why}\n", thread.name().unwrap_or("?"));
    // Not by a macro: what these print is kept from the terminal while a test passes.
    drop(std::io::stderr().write_all(format!("LEFT OUT: {line}").as_bytes()));
    if let Some(path) = std::env::var_os("HAPAIR_LEFT_OUT") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("HAPAIR_LEFT_OUT can be written to");
    }
}

//! Checking staged files before they take effect: the validator sees them in place, in a private mount namespace, while
//! the host keeps the old ones.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::change::check_config::{self, Scope};
use crate::host::os::error::{Error, Result, at};
use crate::host::os::exec::{self, Output};
use crate::host::os::files;
use crate::host::resource::staged::Staged;
use crate::state::Validator;

const LIMIT: Duration = Duration::from_secs(60);

/// How the staged files could be shown to the validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// In a mount namespace of its own; they passed.
    Private,
    /// Not at all: the system refuses such namespaces. Nothing was checked.
    Refused,
}

/// Validates files that are not in place yet. `scratch` is made anew and removed.
///
/// # Errors
/// The validator refused them, or is not installed.
pub fn staged(validator: Validator, files: &[Staged], scratch: &Path) -> Result<View> {
    own_check(validator, files)?;
    let Some(command) = command_for(validator, files)? else {
        return Ok(View::Private);
    };
    let _ = fs::remove_dir_all(scratch);
    let outcome = stage(files, scratch).and_then(|mounts| in_namespace(&command, &mounts));
    let _ = fs::remove_dir_all(scratch);
    match outcome? {
        Some(output) => judge(validator, &command, &output).map(|()| View::Private),
        None => Ok(View::Refused),
    }
}

/// Validates files that are in place.
///
/// # Errors
/// The validator refused them.
pub fn in_place(validator: Validator, files: &[Staged]) -> Result<()> {
    let Some(command) = command_for(validator, files)? else {
        return Ok(());
    };
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let output = exec::run(&command[0], &args, LIMIT)?;
    judge(validator, &command, &output)
}

/// What can be said of the text alone.
///
/// # Errors
/// What is wrong with it, and where.
pub fn own_check(validator: Validator, files: &[Staged]) -> Result<()> {
    for file in files {
        let text = String::from_utf8_lossy(&file.content);
        match validator {
            Validator::Repository => repository(&text).map_err(|e| e.context(file.path.display().to_string()))?,
            Validator::Keepalived | Validator::Agent => {
                check_config::check(&text, &file.path.display().to_string(), Scope::Text)?;
            }
            Validator::Nginx | Validator::Unit => {}
        }
    }
    Ok(())
}

/// What can be said of the text once everything that it runs is on the host.
///
/// # Errors
/// A check that this host would not run: the engine would never give up the VIP for it.
pub fn scripts(validator: Validator, files: &[Staged]) -> Result<()> {
    if !matches!(validator, Validator::Keepalived | Validator::Agent) {
        return Ok(());
    }
    for file in files {
        let text = String::from_utf8_lossy(&file.content);
        check_config::check(&text, &file.path.display().to_string(), Scope::Host)?;
    }
    Ok(())
}

/// At least one section header, and every line a comment, a header, an assignment or a continuation.
fn repository(text: &str) -> Result<()> {
    let mut sections = 0;
    let mut key_seen = false;
    for (number, line) in text.lines().enumerate() {
        let body = line.trim();
        if body.is_empty() || body.starts_with(['#', ';']) {
            continue;
        }
        if body.starts_with('[') && body.ends_with(']') && body.len() > 2 {
            sections += 1;
            key_seen = false;
        } else if sections > 0 && body.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()) {
            key_seen = true;
        } else if !(key_seen && line.starts_with([' ', '\t'])) {
            return Err(
                Error::new(format!("line {}: not a repository file: {body}", number + 1))
                    .hint("a web page in the place of a .repo file usually means a proxy or a dead mirror"),
            );
        }
    }
    if sections == 0 {
        Err(Error::new("it has no [repository] section"))
    } else {
        Ok(())
    }
}

/// The program that checks; `None` where the host has none that can.
fn command_for(validator: Validator, files: &[Staged]) -> Result<Option<Vec<String>>> {
    let need = |name: &str| {
        exec::which(&[name])
            .ok_or_else(|| Error::new(format!("{name} is not installed, so its files cannot be checked")))
    };
    let line = |program: String, args: &[&str]| {
        Some(
            std::iter::once(program)
                .chain(args.iter().map(|a| (*a).to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    Ok(match validator {
        Validator::Repository | Validator::Agent => None,
        Validator::Nginx => line(need("nginx")?, &["-t"]),
        Validator::Keepalived => {
            let config = files.iter().find(|f| f.path.extension().is_some_and(|e| e == "conf"));
            match (config, exec::which(&["keepalived"])) {
                (Some(config), Some(program)) if keepalived_can_test(&program) => {
                    line(program, &["-t", "-f", &config.path.to_string_lossy()])
                }
                _ => None,
            }
        }
        Validator::Unit => {
            let units: Vec<String> = files.iter().map(|f| f.path.to_string_lossy().into_owned()).collect();
            let program = exec::which(&["systemd-analyze"]).filter(|_| !units.is_empty());
            program.map(|p| [vec![p, "verify".to_owned()], units].concat())
        }
    })
}

/// `-t` exists since 2.0.4; before, getopt's default branch exits 0 whatever the file holds.
fn keepalived_can_test(program: &str) -> bool {
    let Ok(output) = exec::run(program, &["-v"], Duration::from_secs(10)) else {
        return false;
    };
    let text = format!("{}{}", output.stderr, output.stdout);
    let version = text.split_whitespace().find_map(|w| {
        let numbers: Vec<u32> = w.strip_prefix('v')?.split('.').map_while(|n| n.parse().ok()).collect();
        (numbers.len() >= 2).then_some(numbers)
    });
    version.is_some_and(|v| v >= vec![2, 0, 4])
}

/// Whether the validator's answer is a refusal.
fn judge(validator: Validator, command: &[String], output: &Output) -> Result<()> {
    if output.ok() {
        return Ok(());
    }
    if validator == Validator::Unit && !output.timed_out {
        // verify also complains of programs that this very apply is yet to install, and of units that are not ours.
        let names: Vec<&str> = command[2..].iter().filter_map(|p| p.rsplit('/').next()).collect();
        let real = |l: &&str| {
            names.iter().any(|n| l.contains(n)) && !l.contains("is not executable") && !l.contains("not found")
        };
        let text = format!("{}\n{}", output.stdout, output.stderr);
        let lines: Vec<&str> = text.lines().filter(real).collect();
        if lines.is_empty() {
            return Ok(());
        }
        return Err(refused("systemd-analyze verify", &lines.join("\n")));
    }
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    match validator {
        _ if output.timed_out => Err(exec::failed(&command[0], &args, output, LIMIT)),
        Validator::Nginx => Err(refused("nginx -t", &output.tail(10))),
        // keepalived 2.2.7 ends its own test with SIGTERM when a script has a user other than root. That says nothing
        // about the file, which hapair's own reader has found in order.
        Validator::Keepalived if output.code.is_none() => Ok(()),
        Validator::Keepalived => Err(refused("keepalived -t", &output.tail(20))),
        Validator::Repository | Validator::Agent | Validator::Unit => {
            Err(refused(&command.join(" "), &output.tail(10)))
        }
    }
}

fn refused(tool: &str, text: &str) -> Error {
    Error::new(format!("`{tool}` refused the new files: {text}"))
        .hint("none of it was activated; correct the inventory or the template and apply again")
}

/// A directory or file that is laid over another.
struct Mount {
    source: PathBuf,
    target: PathBuf,
}

/// Copies what the files live in, changes the copies, and says what to lay over what.
fn stage(files: &[Staged], scratch: &Path) -> Result<Vec<Mount>> {
    files::private_directory(scratch)?;
    let mut mounts: Vec<Mount> = Vec::new();
    for file in files {
        let base = base_of(&file.path);
        if !mounts.iter().any(|m| m.target == base) {
            let source = scratch.join(mounts.len().to_string());
            if base.is_dir() {
                copy(&base, &source)?;
            } else if base.exists() {
                fs::copy(&base, &source).map_err(at("stage", &base))?;
            } else {
                return Err(Error::new(format!(
                    "{} does not exist, so its files cannot be checked",
                    base.display()
                ))
                .hint("the package that provides it is not installed"));
            }
            mounts.push(Mount {
                source,
                target: base.clone(),
            });
        }
        let Some(mount) = mounts.iter().find(|m| m.target == base) else {
            continue;
        };
        let inside = file.path.strip_prefix(&base).unwrap_or(Path::new(""));
        let copy = if inside.as_os_str().is_empty() {
            mount.source.clone()
        } else {
            mount.source.join(inside)
        };
        let _ = fs::remove_file(&copy);
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent).map_err(at("stage", &copy))?;
        }
        fs::write(&copy, &file.content).map_err(at("stage", &copy))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(file.mode)).map_err(at("stage", &copy))?;
    }
    Ok(mounts)
}

/// What is copied for a file: `/etc/nginx` for everything under it, else the file's own directory; a file right under
/// `/etc` stands for itself.
fn base_of(path: &Path) -> PathBuf {
    let parts: Vec<_> = path.components().collect();
    let etc = parts.get(1).is_some_and(|p| p.as_os_str() == "etc");
    match parts.len() {
        0..=3 => path.to_path_buf(),
        _ if etc => parts[..3].iter().collect(),
        _ => path.parent().unwrap_or(path).to_path_buf(),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(at("stage", to))?;
    let meta = fs::metadata(from).map_err(at("read", from))?;
    fs::set_permissions(to, meta.permissions()).map_err(at("stage", to))?;
    for entry in fs::read_dir(from).map_err(at("read", from))?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(meta) = fs::symlink_metadata(&source) else {
            continue;
        };
        if meta.is_dir() {
            copy(&source, &target)?;
        } else if meta.is_symlink() {
            let link = fs::read_link(&source).map_err(at("read the link", &source))?;
            std::os::unix::fs::symlink(link, &target).map_err(at("stage", &target))?;
        } else if meta.is_file() {
            fs::copy(&source, &target).map_err(at("stage", &target))?;
            let _ = std::os::unix::fs::chown(
                &target,
                Some(std::os::unix::fs::MetadataExt::uid(&meta)),
                Some(std::os::unix::fs::MetadataExt::gid(&meta)),
            );
        }
    }
    Ok(())
}

/// Runs a command with the copies laid over the originals, for it alone; `None`: the system refuses the namespace.
fn in_namespace(command: &[String], mounts: &[Mount]) -> Result<Option<Output>> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new("a path holds a NUL"));
    let pairs: Vec<(CString, CString)> = mounts
        .iter()
        .map(|m| Ok((text(&m.source)?, text(&m.target)?)))
        .collect::<Result<_>>()?;
    let args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
    let mut prepared = exec::command(&command[0], &args);
    let enter = move || {
        let check = |result: libc::c_int| {
            if result == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        };
        // SAFETY: plain system calls on strings made before the fork; nothing is allocated between fork and exec.
        unsafe {
            check(libc::unshare(libc::CLONE_NEWNS))?;
            let none = std::ptr::null();
            check(libc::mount(
                none,
                c"/".as_ptr(),
                none,
                libc::MS_REC | libc::MS_PRIVATE,
                none.cast(),
            ))?;
            for (source, target) in &pairs {
                check(libc::mount(
                    source.as_ptr(),
                    target.as_ptr(),
                    none,
                    libc::MS_BIND,
                    none.cast(),
                ))?;
            }
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls, see above.
    unsafe { prepared.pre_exec(enter) };
    match exec::finish(&command[0], prepared, LIMIT, &mut |_| {}) {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.os_error() == Some(libc::EPERM) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_files() {
        assert!(repository("# x\n[nginx]\nname=a\nbaseurl=http://a/\n  http://b/\n").is_ok());
        assert!(repository("[local-media]\n  name=x\n  enabled=1\n").is_ok());
        assert!(repository("<html>\n<body>").unwrap_err().message.starts_with("line 1:"));
        assert!(repository("").is_err());
    }

    #[test]
    fn a_test_of_keepalived_that_a_signal_ended_says_nothing_of_the_file() {
        let ended = |code| Output {
            code,
            stdout: String::new(),
            stderr: "(line 3) unknown keyword".to_owned(),
            timed_out: false,
        };
        let command = ["keepalived".to_owned(), "-t".to_owned()];
        assert!(judge(Validator::Keepalived, &command, &ended(None)).is_ok());
        assert!(judge(Validator::Keepalived, &command, &ended(Some(5))).is_err());
    }

    #[test]
    fn a_check_that_this_host_would_not_run_is_refused_once_it_should_be_there() {
        let staged = |command: &str| {
            let text = format!(
                "vrrp_script chk {{\n script \"{command}\"\n}}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 1\n \
                 virtual_ipaddress {{\n 10.0.0.1\n }}\n track_script {{\n chk\n }}\n}}\n"
            );
            [Staged {
                path: PathBuf::from("/etc/keepalived/keepalived.conf"),
                content: text.into_bytes(),
                mode: 0o600,
            }]
        };
        let (good, missing) = (staged("sh -c true"), staged("hp-no-such-program -0 nginx"));
        for engine in [Validator::Agent, Validator::Keepalived] {
            assert!(own_check(engine, &good).is_ok() && scripts(engine, &good).is_ok());
            assert!(own_check(engine, &missing).is_ok(), "its package may be still to come");
            let error = scripts(engine, &missing).unwrap_err();
            assert!(error.message.contains("check `chk` is disabled"), "{error}");
            assert!(error.message.contains("`hp-no-such-program` is not in "), "{error}");
        }
        assert!(scripts(Validator::Nginx, &missing).is_ok());
    }

    #[test]
    fn what_is_copied() {
        for (path, base) in [
            ("/etc/nginx/conf.d/a.conf", "/etc/nginx"),
            ("/etc/sudoers", "/etc/sudoers"),
            ("/etc/sudoers.d/x", "/etc/sudoers.d"),
            ("/usr/libexec/keepalived/check.sh", "/usr/libexec/keepalived"),
        ] {
            assert_eq!(base_of(Path::new(path)), Path::new(base), "{path}");
        }
    }

    #[test]
    fn a_private_view_leaves_the_original_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/b/real.conf");
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, "old").unwrap();
        let file = Staged {
            path: target.clone(),
            content: b"new".to_vec(),
            mode: 0o644,
        };
        let mounts = stage(&[file], &dir.path().join("scratch")).unwrap();
        let command = ["/bin/cat".to_owned(), target.to_string_lossy().into_owned()];
        // Without root there is no such namespace, and the answer says so.
        if let Some(output) = in_namespace(&command, &mounts).unwrap() {
            assert_eq!(output.stdout, "new");
        } else {
            assert!(!nix::unistd::geteuid().is_root());
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
    }
}

//! Which commands are run, and as what: keepalived's rules (2.2.7, check_script_secure).
//!
//! A command without a path is looked for along `PATH`, links are followed, and only then it is looked at: it must be there,
//! executable for the user that runs it, and under `enable_script_security` nobody but root may be able to change what root
//! runs. A check that is none of these is **dropped**, as in keepalived: it neither fails nor succeeds, and its weight does
//! not count. That is never silent: `check-config` and `apply` call it an error, the log, `status` and the metrics name it.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::users::{self, Ids};
use crate::keepalived::{Command, Config, Diagnostic, GlobalDefs, Place, Script};

/// Where a daemon that has no `PATH` looks. What is checked beforehand is checked by it too: the shell or the login that
/// checks may have another one than the daemon's service.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command as it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The program's path, then arguments.
    pub(crate) argv: Vec<String>,
    /// Who runs it.
    pub(crate) ids: Ids,
}

/// Makes a command ready to run.
///
/// # Errors
/// Why it is not run.
pub(crate) fn prepare(command: &Command, global: &GlobalDefs, path: &OsStr) -> Result<Prepared, String> {
    let ids = ids(command, global)?;
    let Some(written) = command.argv.first().filter(|w| !w.is_empty()) else {
        return Err("the command is empty".to_owned());
    };
    if written.starts_with('<') {
        return Err(format!(
            "`{written}`: the agent opens no file as a check; write `test -r FILE`"
        ));
    }
    let found = if written.contains('/') {
        PathBuf::from(written)
    } else {
        along(written, path, &ids)?
    };
    let real = fs::canonicalize(&found).map_err(|e| unreadable(&found, &e))?;
    let program = named_as(&found, &real);
    let meta = fs::metadata(&real).map_err(|e| unreadable(&found, &e))?;
    if !meta.is_file() || !is_executable(&meta, &ids) {
        return Err(format!("{} is not executable for {}", found.display(), whom(&ids)));
    }
    reachable(&real, &ids)?;
    if global.script_security && needs_protection(&meta, &ids) {
        unchangeable(&program)?;
        unchangeable(&real)?;
    }
    let mut argv = command.argv.clone();
    argv[0] = program.to_str().map_or_else(|| written.clone(), str::to_owned);
    Ok(Prepared { argv, ids })
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{} is not there", path.display()),
        _ => format!("{}: {error}", path.display()),
    }
}

fn whom(ids: &Ids) -> String {
    match ids.uid {
        0 => "root".to_owned(),
        uid => format!("the user with id {uid}"),
    }
}

/// Who runs a command: its own user, else `script_user`, else keepalived_script if there is one, else root; where script
/// security is on, keepalived wants one of the first three.
fn ids(command: &Command, global: &GlobalDefs) -> Result<Ids, String> {
    if let Some(user) = command.user.as_ref().or(global.script_user.as_ref()) {
        return users::lookup(&user.user, user.group.as_deref());
    }
    match users::lookup("keepalived_script", None) {
        Ok(ids) => Ok(ids),
        Err(_) if global.script_security => Err(
            "no user to run it as: enable_script_security needs `script_user`, or a user named keepalived_script"
                .to_owned(),
        ),
        Err(_) => Ok(Ids::ROOT),
    }
}

/// The first executable file of that name in the directories of `path`.
fn along(name: &str, path: &OsStr, ids: &Ids) -> Result<PathBuf, String> {
    let mut forbidden = None;
    for dir in std::env::split_paths(path).filter(|dir| dir.is_absolute()) {
        let file = dir.join(name);
        let Ok(meta) = fs::metadata(&file) else { continue };
        if meta.is_file() && is_executable(&meta, ids) {
            return Ok(file);
        }
        forbidden.get_or_insert(file);
    }
    Err(match forbidden {
        Some(file) => format!("{} is not executable for {}", file.display(), whom(ids)),
        None => format!("`{name}` is not in {}", path.to_string_lossy()),
    })
}

/// The real path, but with the written file name if that leads to the same file: some programs do what they are called.
fn named_as(found: &Path, real: &Path) -> PathBuf {
    let (Some(name), Some(dir)) = (found.file_name(), real.parent()) else {
        return real.to_owned();
    };
    let named = dir.join(name);
    let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    if inode(&named).is_some_and(|n| Some(n) == inode(real)) {
        named
    } else {
        real.to_owned()
    }
}

fn is_executable(meta: &Metadata, ids: &Ids) -> bool {
    let mode = meta.mode();
    if ids.uid == 0 {
        mode & 0o111 != 0
    } else if ids.uid == meta.uid() {
        mode & 0o100 != 0
    } else if ids.gid == meta.gid() || ids.groups.contains(&meta.gid()) {
        mode & 0o010 != 0
    } else {
        mode & 0o001 != 0
    }
}

/// The user may pass through every directory on the way.
fn reachable(path: &Path, ids: &Ids) -> Result<(), String> {
    for dir in path.ancestors().skip(1) {
        let meta = fs::metadata(dir).map_err(|e| unreadable(dir, &e))?;
        if !is_executable(&meta, ids) {
            return Err(format!("{} cannot be entered by {}", dir.display(), whom(ids)));
        }
    }
    Ok(())
}

/// Root runs it, by right of the user or of the file.
fn needs_protection(meta: &Metadata, ids: &Ids) -> bool {
    let mode = meta.mode();
    ids.uid == 0
        || ids.gid == 0
        || (meta.uid() == 0 && mode & 0o4100 == 0o4100)
        || (meta.gid() == 0 && mode & 0o2010 == 0o2010)
}

/// Nobody but root can change any part of a path.
fn unchangeable(path: &Path) -> Result<(), String> {
    for part in path.ancestors().filter(|p| !p.as_os_str().is_empty()) {
        let meta = fs::symlink_metadata(part).map_err(|e| unreadable(part, &e))?;
        let (mode, kind) = (meta.mode(), meta.file_type());
        let open = (meta.gid() != 0 && mode & 0o020 != 0) || mode & 0o002 != 0;
        let sticky = kind.is_dir() && mode & 0o1000 != 0;
        if meta.uid() != 0 || (!kind.is_symlink() && !sticky && open) {
            return Err(format!("{} can be changed by users other than root", part.display()));
        }
    }
    Ok(())
}

/// Why this host will not run a command.
fn unfit(command: &Command, config: &Config) -> Option<String> {
    prepare(command, &config.global, OsStr::new(PATH)).err()
}

/// The checks that something tracks and that this host will not run, and why.
pub fn disabled(config: &Config) -> Vec<(&Script, String)> {
    let tracked = config.scripts.iter().filter(|s| config.tracks_script(&s.name));
    tracked.filter_map(|s| Some((s, unfit(&s.command, config)?))).collect()
}

/// What of a configuration this host will not run: checks that something tracks as errors, the rest as warnings.
pub fn findings(config: &Config) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for (script, reason) in disabled(config) {
        let message = format!("check `{}` is disabled, as in keepalived: {reason}", script.name);
        let d = Diagnostic::error(&script.place, message);
        out.push(d.hint("a check that does not run never moves the VIP; once the command is there, reload"));
    }
    let mut others: Vec<(&Place, String, &Command)> = Vec::new();
    let groups = config.sync_groups.iter().map(|g| (&g.place, &g.name, &g.notify));
    let instances = config.instances.iter().map(|i| (&i.place, &i.name, &i.notify));
    for (place, name, notify) in instances.chain(groups) {
        let commands = notify.commands();
        others.extend(commands.map(|(keyword, command)| (place, format!("`{keyword}` of `{name}`"), command)));
    }
    let g = &config.global;
    for (fifo, keyword) in [
        (&g.notify_fifo, "notify_fifo_script"),
        (&g.vrrp_notify_fifo, "vrrp_notify_fifo_script"),
    ] {
        others.extend(
            fifo.script
                .iter()
                .map(|command| (&g.place, format!("`{keyword}`"), command)),
        );
    }
    for (place, what, command) in others {
        if let Some(reason) = unfit(command, config) {
            out.push(Diagnostic::warning(
                place,
                format!("{what} is not run, as in keepalived: {reason}"),
            ));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::keepalived::{Options, Severity, User, lint};

    const NOBODY: u32 = 65_534;

    fn is_root() -> bool {
        // SAFETY: no arguments, cannot fail.
        let root = unsafe { libc::geteuid() } == 0;
        if !root {
            eprintln!("SKIPPED: needs root");
        }
        root
    }

    fn command(argv: &[&str]) -> Command {
        Command {
            argv: argv.iter().map(|w| (*w).to_owned()).collect(),
            user: None,
        }
    }

    fn secure(user: &str) -> GlobalDefs {
        GlobalDefs {
            script_security: true,
            script_user: Some(User {
                user: user.to_owned(),
                group: None,
            }),
            ..GlobalDefs::default()
        }
    }

    /// A directory of root's that nobody else can change, under a parent like that.
    fn directory() -> tempfile::TempDir {
        let dir = tempfile::Builder::new().tempdir_in("/root").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    fn file(dir: &tempfile::TempDir, name: &str, mode: u32) -> String {
        let path = dir.path().join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_name_is_looked_for_before_it_is_looked_at() {
        if !is_root() {
            return;
        }
        let dir = directory();
        let (first, second) = (dir.path().join("1"), dir.path().join("2"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        fs::write(first.join("hp_check"), "").unwrap();
        let path = file(&dir, "2/hp_check", 0o755);
        let along = format!("relative::{}:{}", first.display(), second.display());
        let prepared = prepare(
            &command(&["hp_check", "-0", "nginx"]),
            &secure("root"),
            OsStr::new(&along),
        )
        .unwrap();
        assert_eq!(prepared.argv, [path.as_str(), "-0", "nginx"]);
        let refused = |along: &str| prepare(&command(&["hp_check"]), &secure("root"), OsStr::new(along)).unwrap_err();
        assert!(refused(first.to_str().unwrap()).ends_with("hp_check is not executable for root"));
        assert_eq!(refused("/nowhere"), "`hp_check` is not in /nowhere");
    }

    #[test]
    fn what_is_missing_or_not_executable_or_open_to_others_is_not_run() {
        if !is_root() {
            return;
        }
        let dir = directory();
        let global = secure("root");
        let run = |path: &str, global: &GlobalDefs| prepare(&command(&[path]), global, OsStr::new(PATH));
        let refused = |path: &str, why: &str| {
            let reason = run(path, &global).unwrap_err();
            assert!(reason.ends_with(why), "{path}: {reason}");
        };
        assert!(run(&file(&dir, "good", 0o755), &global).is_ok());
        refused("/nowhere/to/be/found", "/nowhere/to/be/found is not there");
        refused(&file(&dir, "plain", 0o644), "plain is not executable for root");
        refused(dir.path().to_str().unwrap(), "is not executable for root");
        refused("</etc/passwd", "write `test -r FILE`");
        refused(
            &file(&dir, "world", 0o757),
            "world can be changed by users other than root",
        );
        // The group root is root.
        let group = file(&dir, "group", 0o775);
        assert!(run(&group, &global).is_ok());
        chown(&group, None, Some(NOBODY)).unwrap();
        refused(&group, "group can be changed by users other than root");
        assert!(run(&group, &GlobalDefs::default()).is_ok(), "only with script security");
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        let reason = run(&group, &secure("nobody")).unwrap_err();
        assert_eq!(
            reason,
            format!(
                "{} cannot be entered by the user with id {NOBODY}",
                dir.path().display()
            )
        );
        mode(0o755);
        let link = dir.path().join("link");
        symlink(&group, &link).unwrap();
        refused(link.to_str().unwrap(), "group can be changed by users other than root");
        let owned = file(&dir, "owned", 0o755);
        chown(&owned, Some(NOBODY), None).unwrap();
        refused(&owned, "owned can be changed by users other than root");
        // /tmp is open to all, but sticky.
        let sticky = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(sticky.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(run(&file(&sticky, "good", 0o755), &global).is_ok());
    }

    #[test]
    fn somebody_must_be_named_to_run_it_under_script_security() {
        let global = GlobalDefs {
            script_security: true,
            ..GlobalDefs::default()
        };
        let prepared = prepare(&command(&["/bin/sh"]), &global, OsStr::new(PATH));
        match users::lookup("keepalived_script", None) {
            Ok(ids) => assert_eq!(prepared.unwrap().ids, ids),
            Err(_) => assert!(prepared.unwrap_err().starts_with("no user to run it as")),
        }
        assert!(prepare(&command(&["/bin/sh"]), &secure("hp-no-such-user"), OsStr::new(PATH)).is_err());
        let sh = prepare(
            &command(&["/bin/sh", "-c", "true"]),
            &GlobalDefs::default(),
            OsStr::new(PATH),
        )
        .unwrap();
        assert!(sh.argv[0].ends_with("/sh"), "called what it was called: {sh:?}");
    }

    #[test]
    fn checks_are_errors_and_notifications_are_warnings_and_what_nobody_tracks_is_neither() {
        let text = "vrrp_script gone {\n script /nowhere/gone\n}\nvrrp_script unused {\n script /nowhere/unused\n}\n\
                    vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n \
                    track_script {\n gone\n }\n notify_master /nowhere/master\n notify_stop \"/bin/sh -c true\"\n}\n";
        let (config, _) = lint(text, &Options::default());
        let found = findings(&config);
        let severities: Vec<Severity> = found.iter().map(|d| d.severity).collect();
        assert_eq!(severities, [Severity::Error, Severity::Warning], "{found:?}");
        assert_eq!(
            found[0].message,
            "check `gone` is disabled, as in keepalived: /nowhere/gone is not there"
        );
        assert!(
            found[1].message.starts_with("`notify_master` of `V` is not run"),
            "{found:?}"
        );
    }
}

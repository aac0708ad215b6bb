//! Whose hand it was, as far as a host can tell: who may write there, when it was written, and what rpm says of it.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::control::{fault, stopped_units};
use crate::host::observe::tools::Tools;
use crate::host::os::root::{Database, Root};
use crate::host::os::{exec, systemd};
use crate::host::record::fingerprint;
use crate::host::report::baseline::Left;
use crate::host::resource::observed::Observed;
use crate::state::{By, Moment, Packaged};

/// What rpm leaves beside a file that it would have replaced, or did replace.
const BESIDE: [&str; 3] = ["rpmnew", "rpmsave", "rpmorig"];

/// How long `rpm` may take for one package.
const RPM: Duration = Duration::from_secs(30);

/// Who changed a resource last, and when.
#[derive(Debug, Default)]
pub(crate) struct Attribution {
    pub(crate) by: Option<By>,
    pub(crate) when: Option<Moment>,
    pub(crate) package: Option<Packaged>,
    pub(crate) beside: Vec<String>,
}

/// Attributes a change of what is at a path, or its removal.
pub(crate) fn of_path(root: &Root, path: &Path, left: &Left) -> Attribution {
    let meta = fs::symlink_metadata(path).ok();
    let mut hand = match &meta {
        Some(meta) => Attribution {
            by: who_writes(root, meta),
            when: Some(Moment::AtMs(changed(meta, left.at_ms))),
            ..Attribution::default()
        },
        None => of_directory(root, path),
    };
    hand.beside = beside(path, left.at_ms);
    if let Some(id) = fingerprint::left_by_unended(root, path, &left.transaction) {
        let what = format!("in transaction {id}, which has not finished");
        hand.by = Some(By::Hapair { what });
        return hand;
    }
    if let Some(owner) = owner(root, path) {
        let package = owner.package.clone();
        // Its time stamps are those of the package's build, so the installation tells when.
        if owner.as_shipped && owner.installed_ms > left.at_ms {
            hand.by = Some(By::Package { package });
            hand.when = Some(Moment::AtMs(owner.installed_ms));
        }
        if meta.is_some() {
            hand.package = Some(Packaged {
                package: owner.package,
                as_shipped: owner.as_shipped,
            });
        }
    }
    hand
}

/// Of what is gone only the directory tells that something was taken out of it, or put in later.
fn of_directory(root: &Root, path: &Path) -> Attribution {
    let Some(meta) = path.parent().and_then(|parent| fs::symlink_metadata(parent).ok()) else {
        return Attribution::default();
    };
    Attribution {
        by: who_writes(root, &meta),
        when: Some(Moment::AtOrBeforeMs(modified(&meta))),
        ..Attribution::default()
    }
}

/// The one user, besides root, who may write there; `None`: more than one may.
fn who_writes(root: &Root, meta: &Metadata) -> Option<By> {
    // A link's own bits mean nothing; who made it owns it.
    let by_owner_only = meta.is_symlink() || meta.permissions().mode() & 0o022 == 0;
    by_owner_only.then(|| By::User {
        name: root.name_of(Database::Passwd, meta.uid()),
    })
}

/// When a file's content changed, or, where that time is older than what hapair left (a copy keeps it, mode and owner do not
/// touch it), when anything of it did.
fn changed(meta: &Metadata, left_ms: u64) -> u64 {
    let modified = modified(meta);
    if modified > left_ms {
        modified
    } else {
        ms(meta.ctime(), meta.ctime_nsec())
    }
}

fn modified(meta: &Metadata) -> u64 {
    ms(meta.mtime(), meta.mtime_nsec())
}

fn ms(seconds: i64, nanos: i64) -> u64 {
    u64::try_from(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)).unwrap_or(0)
}

fn beside(path: &Path, left_ms: u64) -> Vec<String> {
    let named = |suffix: &&str| PathBuf::from(format!("{}.{suffix}", path.display()));
    let since = |path: &PathBuf| {
        let meta = fs::symlink_metadata(path);
        meta.is_ok_and(|m| ms(m.ctime(), m.ctime_nsec()) > left_ms)
    };
    let found = BESIDE.iter().map(named).filter(since);
    found.map(|path| path.display().to_string()).collect()
}

/// The package that a path belongs to.
struct Owner {
    package: String,
    installed_ms: u64,
    as_shipped: bool,
}

fn owner(root: &Root, path: &Path) -> Option<Owner> {
    if !root.is_live() {
        return None;
    }
    let path = path.to_string_lossy();
    let form = "%{NAME}-%{VERSION}-%{RELEASE} %{INSTALLTIME}\\n";
    let output = exec::run("rpm", &["-qf", "--qf", form, "--", &path], RPM).ok()?;
    let (package, installed_ms) = parse_owner(&output.stdout)?;
    let verified = exec::run("rpm", &["-V", "--nodeps", "--noscripts", "--", &package], RPM).ok()?;
    (!verified.timed_out).then(|| Owner {
        as_shipped: is_as_shipped(&verified.stdout, &path),
        package,
        installed_ms,
    })
}

/// `file X is not owned by any package` has more words.
fn parse_owner(text: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = text.lines().next()?.split_whitespace().collect();
    let [package, installed] = words[..] else { return None };
    Some((package.to_owned(), installed.parse::<u64>().ok()?.saturating_mul(1000)))
}

/// `rpm -V` names only what differs: `S.5....T.  c /etc/nginx/nginx.conf` (rpm(8): `S` size, `5` digest, `L` link,
/// `D` device, `?` could not be read), `missing   c /etc/nginx/nginx.conf`.
fn is_as_shipped(text: &str, path: &str) -> bool {
    let named = |line: &&str| line.split_whitespace().last() == Some(path);
    match text.lines().find(named) {
        None => true,
        Some(line) => {
            let flags = line.split_whitespace().next().unwrap_or_default();
            flags != "missing" && !flags.contains(['S', '5', 'L', 'D', '?'])
        }
    }
}

/// Attributes a change of a unit that was started, stopped, enabled or disabled.
pub(crate) fn of_unit(root: &Root, unit: &str, was: &Observed, now: &Observed, tools: &Tools) -> Attribution {
    let active = |observed: &Observed| observed.runs().unwrap_or(false);
    if active(was) == active(now) {
        return Attribution::default();
    }
    let when = root.is_live().then(|| systemd::switched_at_ms(unit)).flatten();
    let by_hapair = |what: &str| Some(By::Hapair { what: what.to_owned() });
    let by = if fault::is_in_force(root, unit) {
        by_hapair("for a drill or a handover")
    } else if tools.unit(unit).active == "failed" {
        Some(By::Itself)
    } else if !active(now) && when.is_some_and(|when| stopped_units::stopped_by_hapair(root, unit, when)) {
        by_hapair("for a change that has not finished")
    } else {
        None
    };
    Attribution {
        by,
        when: when.map(Moment::AtMs),
        ..Attribution::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rpm_says() {
        assert_eq!(
            parse_owner("nginx-1.26.1-1.el7.ngx 1795365935\n"),
            Some(("nginx-1.26.1-1.el7.ngx".to_owned(), 1_795_365_935_000))
        );
        assert_eq!(parse_owner("file /etc/x is not owned by any package\n"), None);
        assert_eq!(parse_owner(""), None);
        let text = "S.5....T.  c /etc/nginx/nginx.conf\n.......T.  c /etc/nginx/mime.types\nmissing   c /etc/nginx/fastcgi.conf\n";
        for (path, as_shipped) in [
            ("/etc/nginx/nginx.conf", false),
            ("/etc/nginx/mime.types", true),
            ("/etc/nginx/fastcgi.conf", false),
            ("/etc/nginx/conf.d/default.conf", true),
        ] {
            assert_eq!(is_as_shipped(text, path), as_shipped, "{path}");
        }
    }

    #[test]
    fn only_where_one_user_may_write_is_he_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir(dir.path().join("etc")).unwrap();
        let path = dir.path().join("etc/passwd");
        let uid = nix::unistd::geteuid().as_raw();
        fs::write(&path, format!("me:x:{uid}:0::/:/bin/sh\n")).unwrap();
        let named = |mode: u32| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            who_writes(&root, &fs::metadata(&path).unwrap())
        };
        assert_eq!(named(0o644), Some(By::User { name: "me".into() }));
        assert_eq!(named(0o664), None);
        assert_eq!(named(0o646), None);
    }
}

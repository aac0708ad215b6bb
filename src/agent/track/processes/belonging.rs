//! Finds the owner of a process. A name does not tell it: any user can run something called `nginx`, and so can a container whose process ids
//! the host sees. keepalived.conf knows only the name, so that it stays readable by keepalived; whose process is meant is found out
//! here, from the best that there is:
//!
//! 1. the host has units that run it, by their own name or by their `ExecStart`: processes in the cgroup of one of these,
//! 2. the rule has the path of a program: processes of root, or of the program's owner, that run that very file, and their children,
//! 3. neither: the name must do, and the log and `status` say so.
//!
//! Everything is read from /proc and from unit files: no D-Bus, and no program is run for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::keepalived::TrackProcess;
use crate::state::control_group;

/// Where systemd finds units, the first word counts (systemd.unit(5), and its generators).
const UNITS: [&str; 9] = [
    "/etc/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
/// Bytes of a unit file that are read: more than any has.
const MOST: u64 = 256 * 1024;
/// Generations that are looked up for an ancestor that counts: nginx's workers are children of its master.
const GENERATIONS: u32 = 8;

/// The machine, as far as it decides this.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// /proc.
    pub(super) proc: PathBuf,
    /// Directories with unit files, the first counts. None where systemd does not run.
    pub(super) units: Vec<PathBuf>,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Machine {
        // As sd_booted(3).
        let booted = Path::new("/run/systemd/system").is_dir();
        let units: &[&str] = if booted { &UNITS } else { &[] };
        Machine {
            proc: "/proc".into(),
            units: units.iter().map(PathBuf::from).collect(),
        }
    }

    fn of(&self, pid: u32, what: &str) -> PathBuf {
        self.proc.join(pid.to_string()).join(what)
    }

    /// The unit of the host's own systemd that a process is in.
    fn unit(&self, pid: u32) -> Option<String> {
        let text = |pid: u32| fs::read_to_string(self.of(pid, "cgroup")).ok();
        let (own, init) = (text(pid)?, text(1)?);
        let below = control_group::below(control_group::path(&own)?, control_group::path(&init)?)?;
        control_group::unit(below).map(str::to_owned)
    }

    /// Effective user, and parent.
    fn user_and_parent(&self, pid: u32) -> Option<(u32, u32)> {
        // Not the owner of the directory: for a program that its user cannot read that is root.
        let status = fs::read_to_string(self.of(pid, "status")).ok()?;
        let field = |name: &str, at: usize| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(at)?.parse().ok()
        };
        Some((field("Uid:", 1)?, field("PPid:", 0)?))
    }

    /// Units whose own name, or whose program, is that.
    fn units_of(&self, process: &str) -> BTreeSet<String> {
        let name = process.rsplit('/').next().unwrap_or(process);
        let mut seen = BTreeSet::new();
        let mut units = BTreeSet::new();
        for dir in &self.units {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let Ok(file) = entry.file_name().into_string() else {
                    continue;
                };
                let Some(stem) = file.strip_suffix(".service") else {
                    continue;
                };
                // Hidden by one that counts before it.
                if !seen.insert(file.clone()) {
                    continue;
                }
                let text = unit_text(&entry.path());
                let runs = |program: &str| {
                    program == process || (!process.contains('/') && program.rsplit('/').next() == Some(name))
                };
                let named = !process.contains('/') && stem.trim_end_matches('@') == name;
                // Masked: /dev/null, which is empty here.
                if !text.is_empty() && (named || programs(&text).any(runs)) {
                    units.insert(file);
                }
            }
        }
        units
    }
}

fn unit_text(path: &Path) -> String {
    let mut text = String::new();
    // A FIFO would keep us waiting.
    if fs::metadata(path).is_ok_and(|meta| meta.is_file())
        && let Ok(file) = fs::File::open(path)
    {
        drop(file.take(MOST).read_to_string(&mut text));
    }
    text
}

/// What a unit starts.
fn programs(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("ExecStart"));
    lines.filter_map(|rest| {
        let command = rest.trim_start().strip_prefix('=')?.trim_start();
        let command = command.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        Some(command.split_whitespace().next()?.trim_matches(['"', '\'']))
    })
}

/// The processes that a rule means, among those that have its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Belonging {
    /// Those of these units; of one that ends with `@.service`, all instances.
    Units(BTreeSet<String>),
    /// Those that run this file.
    Program(Program),
    /// All.
    Name,
}

/// A program of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Without symbolic links.
    path: PathBuf,
    device: u64,
    inode: u64,
    owner: u32,
}

impl Belonging {
    /// What is known of the processes of a rule.
    pub(super) fn of(rule: &TrackProcess, machine: &Machine) -> Belonging {
        let process = rule.process.first().map_or("", String::as_str);
        let units = machine.units_of(process);
        if !units.is_empty() {
            return Belonging::Units(units);
        }
        match Program::at(process) {
            Some(program) => Belonging::Program(program),
            None => Belonging::Name,
        }
    }

    /// Whether a process of the rule's name is meant.
    pub(super) fn admits(&self, pid: u32, machine: &Machine) -> bool {
        match self {
            Belonging::Name => true,
            Belonging::Units(units) => machine.unit(pid).is_some_and(|unit| {
                let template = unit.split_once('@').map(|(stem, _)| format!("{stem}@.service"));
                units.contains(&unit) || template.is_some_and(|template| units.contains(&template))
            }),
            Belonging::Program(program) => program.is_run_by(pid, machine, GENERATIONS),
        }
    }

    /// For `status`.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Belonging::Units(_) => "unit",
            Belonging::Program(_) => "program",
            Belonging::Name => "name",
        }
    }

    /// For the log: the units, or the path.
    pub(super) fn which(&self) -> String {
        match self {
            Belonging::Units(units) => units.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            Belonging::Program(program) => program.path.display().to_string(),
            Belonging::Name => String::new(),
        }
    }
}

impl Program {
    /// An absolute path, of an ELF file: a script's process runs its interpreter.
    fn at(process: &str) -> Option<Program> {
        if !process.starts_with('/') {
            return None;
        }
        let path = fs::canonicalize(process).ok()?;
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut magic = [0; 4];
        fs::File::open(&path).ok()?.read_exact(&mut magic).ok()?;
        let meta = fs::metadata(&path).ok().filter(|_| magic == *b"\x7fELF")?;
        Some(Program {
            path,
            device: meta.dev(),
            inode: meta.ino(),
            owner: meta.uid(),
        })
    }

    fn is_run_by(&self, pid: u32, machine: &Machine, generations: u32) -> bool {
        self.is_file_of(pid, machine)
            && machine.user_and_parent(pid).is_some_and(|(user, parent)| {
                let trusted = user == 0 || user == self.owner;
                trusted || (generations > 0 && parent > 1 && self.is_run_by(parent, machine, generations - 1))
            })
    }

    /// The very file, or, where it has been replaced since, one that had this path on the host's own file system.
    fn is_file_of(&self, pid: u32, machine: &Machine) -> bool {
        let exe = machine.of(pid, "exe");
        if fs::metadata(&exe).is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode)) {
            return true;
        }
        let mut replaced = OsString::from(&self.path);
        replaced.push(" (deleted)");
        let place = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        let there = fs::read_link(&exe).is_ok_and(|path| path == self.path || path.as_os_str() == replaced);
        there && place(&machine.of(pid, "root/.")).is_some_and(|root| Some(root) == place(Path::new("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine made of files.
    struct Made(tempfile::TempDir);

    impl Made {
        fn new(init: &str) -> Made {
            let made = Made(tempfile::tempdir().unwrap());
            made.runs(1, init);
            made
        }

        fn runs(&self, pid: u32, cgroup: &str) {
            let dir = self.0.path().join("proc").join(pid.to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup"), cgroup).unwrap();
        }

        fn unit(&self, dir: &str, name: &str, text: &str) {
            let dir = self.0.path().join(dir);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(name), text).unwrap();
        }

        fn machine(&self) -> Machine {
            Machine {
                proc: self.0.path().join("proc"),
                units: ["etc", "usr"].map(|dir| self.0.path().join(dir)).to_vec(),
            }
        }

        fn belonging(&self, process: &str) -> Belonging {
            Belonging::of(
                &crate::agent::track::processes::tracker::tests::rule("t", process),
                &self.machine(),
            )
        }
    }

    const NGINX: &str = "[Service]\nType=forking\nExecStartPre=/usr/sbin/nginx -t\nExecStart=/usr/sbin/nginx\n";

    fn units(names: &[&str]) -> Belonging {
        Belonging::Units(names.iter().map(|n| (*n).to_owned()).collect())
    }

    #[test]
    fn units_are_known_by_their_name_and_by_what_they_start() {
        let made = Made::new("0::/init.scope\n");
        assert_eq!(made.belonging("nginx"), Belonging::Name);
        made.unit("usr", "nginx.service", NGINX);
        made.unit(
            "usr",
            "openresty.service",
            "ExecStart = -/usr/local/openresty/nginx/sbin/nginx -g 'x'\n",
        );
        made.unit("usr", "named.service", "ExecStart=/usr/sbin/named -u named\n");
        made.unit(
            "etc",
            "named-chroot.service",
            "ExecStart=@/usr/sbin/named named -t /var/named/chroot\n",
        );
        made.unit("usr", "php@.service", "ExecStart=/opt/php/start\n");
        made.unit("usr", "nginx.socket", NGINX);
        made.unit(
            "usr",
            "check.service",
            "# ExecStart=/usr/sbin/nginx\nExecStartPre=/usr/sbin/nginx -t\n",
        );
        assert_eq!(made.belonging("nginx"), units(&["nginx.service", "openresty.service"]));
        assert_eq!(
            made.belonging("named"),
            units(&["named-chroot.service", "named.service"])
        );
        assert_eq!(made.belonging("php"), units(&["php@.service"]));
        assert_eq!(made.belonging("/usr/sbin/nginx"), units(&["nginx.service"]));
        assert_eq!(made.belonging("ngin"), Belonging::Name);
        // Masked, and no longer there for systemd.
        std::os::unix::fs::symlink("/dev/null", made.0.path().join("etc/nginx.service")).unwrap();
        assert_eq!(made.belonging("nginx"), units(&["openresty.service"]));
    }

    #[test]
    fn only_what_is_in_the_units_own_cgroup_counts() {
        // (process 1, nginx of the unit): systemd 219; 239 with version 1 and the hybrid's second line; version 2; in a container.
        for (init, own) in [
            (
                "1:name=systemd:/\n",
                "4:cpu:/\n1:name=systemd:/system.slice/nginx.service\n",
            ),
            (
                "1:name=systemd:/init.scope\n0::/init.scope\n",
                "1:name=systemd:/system.slice/nginx.service\n0::/elsewhere\n",
            ),
            ("0::/init.scope\n", "0::/system.slice/nginx.service\n"),
            (
                "0::/init.scope\n",
                "0::/web.slice/web-front.slice/nginx.service/payload\n",
            ),
            (
                "1:name=systemd:/machine.slice/machine-a.scope/init.scope\n",
                "1:name=systemd:/machine.slice/machine-a.scope/system.slice/nginx.service\n",
            ),
        ] {
            let made = Made::new(init);
            made.unit("usr", "nginx.service", NGINX);
            let (belonging, machine) = (made.belonging("nginx"), made.machine());
            made.runs(7, own);
            assert!(belonging.admits(7, &machine), "{own}");
            for (pid, foreign) in (8..).zip([
                "user.slice/user-1000.slice/session-3.scope",
                "user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service",
                "system.slice/sshd.service",
                "system.slice/nginx.service.d",
                "system.slice/docker-0123.scope",
                "docker/0123/system.slice/nginx.service",
                "machine.slice/machine-b.scope/system.slice/nginx.service",
                "machine.slice/libpod-0123.scope/container",
                "../nginx.service",
                "",
            ]) {
                let top = control_group::top(control_group::path(init).unwrap());
                made.runs(pid, &format!("1:name=systemd:{top}/{foreign}\n0::{top}/{foreign}\n"));
                assert!(!belonging.admits(pid, &machine), "{foreign}");
            }
            assert!(!belonging.admits(99, &machine), "gone");
        }
        let made = Made::new("0::/init.scope\n");
        made.unit("usr", "php@.service", "ExecStart=/opt/php/start\n");
        made.runs(7, "0::/system.slice/system-php.slice/php@eight.service\n");
        made.runs(8, "0::/system.slice/php.service\n");
        let (belonging, machine) = (made.belonging("php"), made.machine());
        assert!(belonging.admits(7, &machine) && !belonging.admits(8, &machine));
    }

    #[test]
    fn a_script_is_known_by_its_name_and_a_program_by_its_file() {
        let made = Made::new("0::/init.scope\n");
        let script = made.0.path().join("daemon");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(made.belonging(script.to_str().unwrap()), Belonging::Name);
        assert_eq!(made.belonging("/nothing/of/that/name"), Belonging::Name);
        assert_eq!(made.belonging("/bin/sleep").word(), "program");
    }
}

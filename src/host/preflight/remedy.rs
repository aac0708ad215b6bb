//! How to stop a program, in a command.

use crate::host::observe::processes::Process;

/// `keepalived (process 812, myha.service)`.
pub(super) fn named(process: &Process) -> String {
    match (process.pid, process.unit()) {
        (0, _) => "a program that this host does not show".to_owned(),
        (pid, Some(unit)) => format!("{} (process {pid}, {unit})", process.name),
        (pid, None) => format!("{} (process {pid}, in no unit)", process.name),
    }
}

/// What stops it for good.
pub(super) fn stop(process: &Process) -> String {
    match (process.pid, process.unit()) {
        (0, _) => "find it with `ss -lnp` and stop it".to_owned(),
        (_, Some(unit)) if unit.ends_with(".service") => format!("run `systemctl disable --now {unit}` on the host"),
        (pid, _) if in_container(process) => {
            format!("stop the container that process {pid} is in, and see that it does not start again")
        }
        (pid, _) => format!("run `kill {pid}` on the host, and find out what starts it at boot"),
    }
}

/// `docker-ID.scope`, `libpod-ID.scope`, `machine-NAME.scope`, and units inside of them.
fn in_container(process: &Process) -> bool {
    const SIGNS: [&str; 6] = ["docker", "libpod", "machine.slice", "kubepods", "crio", "lxc"];
    SIGNS.iter().any(|sign| process.group.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_fits_where_the_program_runs() {
        let process = |group: &str| Process {
            pid: 812,
            name: "keepalived".into(),
            group: group.into(),
        };
        let own = process("/system.slice/myha.service");
        assert_eq!(named(&own), "keepalived (process 812, myha.service)");
        assert_eq!(stop(&own), "run `systemctl disable --now myha.service` on the host");
        let container = process("/system.slice/docker-12ab.scope/system.slice/keepalived.service");
        assert_eq!(named(&container), "keepalived (process 812, docker-12ab.scope)");
        assert!(
            stop(&container).starts_with("stop the container"),
            "{}",
            stop(&container)
        );
        let shell = process("/user.slice/user-0.slice/session-3.scope");
        assert!(stop(&shell).starts_with("run `kill 812`"), "{}", stop(&shell));
        assert_eq!(named(&process("/")), "keepalived (process 812, in no unit)");
        assert!(stop(&Process::default()).starts_with("find it"));
    }
}

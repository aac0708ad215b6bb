//! Cgroups: who belongs to a lab, whatever became of the process that started it.
//!
//! Every process of a lab is started inside `hapair-lab/<lab>/<part>` of each tree that systemd keeps its units in
//! (`name=systemd` of version 1, and version 2). Without directories of their own two hosts would share
//! `/system.slice/X`; with them, `down` finds every process by name even after a kill -9 of hapair.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Doing, LabError};

const ROOT: &str = "hapair-lab";

/// Roots of the mounted trees that matter.
fn trees() -> Result<Vec<PathBuf>, LabError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).at("read", path)?;
    let trees = trees_in(&text);
    if trees.is_empty() {
        return Err(LabError::new("no cgroup tree is mounted on this machine")
            .hint("mount one: `mount -t cgroup2 none /sys/fs/cgroup`"));
    }
    Ok(trees)
}

/// From the text of mountinfo: version 2 trees, and version 1's tree named `systemd`.
fn trees_in(mountinfo: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next(), right.next(), right.next().unwrap_or_default());
        let wanted = match kind {
            Some("cgroup2") => true,
            Some("cgroup") => options.split(',').any(|o| o == "name=systemd"),
            _ => false,
        };
        if let (true, Some(point)) = (wanted, left.split(' ').nth(4)) {
            let point = PathBuf::from(point.replace("\\040", " "));
            if !found.contains(&point) {
                found.push(point);
            }
        }
    }
    found
}

/// The directories of one part of a lab (`None`: of the whole lab), one a tree.
fn dirs(lab: &str, part: Option<&str>) -> Result<Vec<PathBuf>, LabError> {
    let relative = match part {
        Some(part) => Path::new(ROOT).join(lab).join(part),
        None => Path::new(ROOT).join(lab),
    };
    Ok(trees()?.into_iter().map(|tree| tree.join(&relative)).collect())
}

/// Creates the part's directories and opens their `cgroup.procs`: writing `0` there moves the writer in.
pub(super) fn doors(lab: &str, part: &str) -> Result<Vec<OwnedFd>, LabError> {
    dirs(lab, Some(part))?
        .iter()
        .map(|dir| {
            fs::create_dir_all(dir).at("create", dir)?;
            let procs = dir.join("cgroup.procs");
            fs::OpenOptions::new()
                .write(true)
                .open(&procs)
                .map(OwnedFd::from)
                .at("open", &procs)
        })
        .collect()
}

/// Directories below and including this one, deepest first.
fn tree_of(dir: &Path, out: &mut Vec<PathBuf>) {
    if let Ok(entries) = fs::read_dir(dir) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                tree_of(&entry.path(), out);
            }
        }
        out.push(dir.to_owned());
    }
}

/// Processes of a part (or of the whole lab), as this process numbers them.
pub(super) fn processes(lab: &str, part: Option<&str>) -> Result<Vec<i32>, LabError> {
    let mut pids = Vec::new();
    for dir in dirs(lab, part)? {
        let mut tree = Vec::new();
        tree_of(&dir, &mut tree);
        for dir in tree {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            // 0 stands for a process outside this pid namespace.
            pids.extend(
                text.lines()
                    .filter_map(|l| l.parse::<i32>().ok())
                    .filter(|pid| *pid > 0),
            );
        }
    }
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Kills every process of a part (or of the whole lab) and waits until they are gone.
pub(super) fn kill(lab: &str, part: Option<&str>) -> Result<(), LabError> {
    let start = Instant::now();
    loop {
        let pids = processes(lab, part)?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            // SAFETY: no memory is involved. The process is in a cgroup of ours; that its number is re-used between
            // reading and killing would take a whole round of the pid counter.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        if start.elapsed() > Duration::from_secs(20) {
            return Err(LabError::new(format!(
                "processes of lab {lab} cannot be killed: {pids:?}"
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes the directories of a part (or of the whole lab); all processes must be gone.
pub(super) fn remove(lab: &str, part: Option<&str>) -> Result<(), LabError> {
    for dir in dirs(lab, part)? {
        let start = Instant::now();
        loop {
            let mut tree = Vec::new();
            tree_of(&dir, &mut tree);
            let failed = tree.iter().find_map(|dir| match fs::remove_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Some((dir.clone(), e)),
                _ => None,
            });
            match failed {
                None => break,
                // A process that is still on its way out keeps its cgroup busy.
                Some((path, e)) if start.elapsed() > Duration::from_secs(10) => return Err(e).at("remove", &path),
                Some(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        if let (None, Some(root)) = (part, dir.parent()) {
            let _ = fs::remove_dir(root);
        }
    }
    Ok(())
}

/// Names of labs that have a cgroup.
pub(super) fn labs() -> Vec<String> {
    let mut names: Vec<String> = trees()
        .unwrap_or_default()
        .iter()
        .filter_map(|tree| fs::read_dir(tree.join(ROOT)).ok())
        .flat_map(|entries| {
            entries
                .flatten()
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .collect::<Vec<_>>()
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trees_of_all_layouts_are_found() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(trees_in(unified), [PathBuf::from("/sys/fs/cgroup")]);
        let hybrid = "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,xattr,name=systemd\n\
                      33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            trees_in(hybrid),
            [
                PathBuf::from("/sys/fs/cgroup/systemd"),
                PathBuf::from("/sys/fs/cgroup/unified")
            ]
        );
        assert!(trees_in("1 2 0:1 / / rw - ext4 /dev/sda rw\n").is_empty());
    }
}

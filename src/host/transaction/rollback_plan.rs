//! What putting transactions back would change, and what forbids it. Read-only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::host::control::fault;
use crate::host::observe::election_critical;
use crate::host::os::error::{Error, Result};
use crate::host::os::files::Saved;
use crate::host::os::root::Root;
use crate::host::os::rpm_erase::{self, Erasure, Ours};
use crate::host::os::systemd;
use crate::host::record::fingerprint;
use crate::host::record::request::Stored;
use crate::host::record::txn::{LAST, all};
use crate::host::record::undo::{self, OnPaths, Undo};
use crate::host::resource::switch::Switch;
use crate::host::resource::text_diff::unified;
use crate::host::resource::unit_before::{Before, units_before};
use crate::host::resource::{kinds, undoings};
use crate::host::transaction::archive::{self, Archive};
use crate::host::transaction::rollback_targets::{Target, targets};
use crate::host::transaction::uninstall;
use crate::state::hex::hex;
use crate::state::system::KEEPALIVED_CONF;
use crate::state::{Change, Engine, Foreign, Goal, HostRollback, HostRollbackPlan, HostState, Plan, Stage, UnitAction};

/// What will be at a path.
struct End {
    print: String,
    text: Option<String>,
}

impl End {
    fn now(path: &Path) -> End {
        End {
            print: fingerprint::fingerprint_of(path),
            text: text_at(path),
        }
    }

    fn saved(saved: &Saved, old: &Path) -> End {
        let text = match saved {
            Saved::File { stored, .. } => text_at(&old.join(stored)),
            _ => None,
        };
        End {
            print: fingerprint::fingerprint_of_saved(saved, old),
            text,
        }
    }
}

/// Text of a file that is one: a program is compared, not shown.
fn text_at(path: &Path) -> Option<String> {
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() < 1 << 20);
    std::fs::read(path)
        .ok()
        .filter(|_| is_file)
        .and_then(|b| String::from_utf8(b).ok())
}

/// Simulates the rollback: the final content of every touched path, and what someone else changed since.
fn walk(root: &Root, targets: &[Target]) -> (BTreeMap<PathBuf, End>, BTreeSet<PathBuf>) {
    let mut ends: BTreeMap<PathBuf, End> = BTreeMap::new();
    let mut foreign = BTreeSet::new();
    for target in targets {
        let notes = fingerprint::read(&target.txn);
        let old = target.txn.old();
        // Before its first entry for a path, which comes last.
        let mut before: BTreeMap<PathBuf, End> = BTreeMap::new();
        for entry in &target.entries {
            match entry.on_paths() {
                OnPaths::Saved(path, saved) => drop(before.insert(path.to_owned(), End::saved(saved, &old))),
                OnPaths::Renamed { from, to } => {
                    let moved = ends.remove(to).unwrap_or_else(|| End::now(to));
                    if moved.print != fingerprint::missing() {
                        before.insert(from.to_owned(), moved);
                    }
                }
                OnPaths::Nothing => {}
            }
        }
        for (path, end) in before {
            let now = ends
                .get(&path)
                .map_or_else(|| fingerprint::fingerprint_of(&path), |e| e.print.clone());
            if path != root.path(LAST) && now != end.print && notes.get(&path) != Some(&now) {
                foreign.insert(path.clone());
            }
            ends.insert(path, end);
        }
    }
    ends.remove(&root.path(LAST));
    (ends, foreign)
}

/// What a rollback would change.
///
/// # Errors
/// A transaction is unknown or not in force, a later one is, or someone else changed files since; an engine is held
/// stopped on purpose; something else needs a package that is to go.
pub fn plan(root: &Root, what: &HostRollback) -> Result<HostRollbackPlan> {
    let targets = targets(root, what)?;
    fault::no_engine_held(root)?;
    let (mut ends, foreign) = walk(root, &targets);
    if what.foreign == Foreign::Refuse && !foreign.is_empty() {
        return Err(refused(&foreign));
    }
    let requests: Vec<Stored> = targets.iter().filter_map(|t| Stored::load(&t.txn).ok()).collect();
    let state = requests.first().map(|r| r.state.clone()).unwrap_or_default();
    let entries: Vec<Undo> = targets.iter().flat_map(|t| t.entries.iter().cloned()).collect();
    let forgotten = archive::read(root);
    let mut plan = Plan {
        host: state.host.clone(),
        ..Plan::default()
    };
    let units = units_before(&entries);
    let mut stays: BTreeSet<String> = entries
        .iter()
        .map(undoings::of)
        .filter(|undoing| what.goal != Goal::RemoveWithPackages || undoing.installed().is_none())
        .filter_map(|undoing| undoing.stays(root))
        .collect();
    if what.goal != Goal::Rollback {
        for path in uninstall::paths(root, &forgotten, |path| {
            ends.get(path)
                .map_or_else(|| fingerprint::fingerprint_of(path), |e| e.print.clone())
        }) {
            let gone = End {
                print: fingerprint::missing(),
                text: None,
            };
            ends.insert(path, gone);
        }
        stays.extend(
            forgotten.lost.iter().map(|what| {
                format!("{what} cannot be restored: the transaction that changed it is no longer on record")
            }),
        );
    }
    let packages = match what.goal {
        Goal::RemoveWithPackages => rpm_erase::plan(root, &installed(root, &forgotten))?,
        Goal::Rollback | Goal::Remove => Erasure::default(),
    };
    stays.extend(packages.stays);
    let packages = packages.names;
    for (path, end) in &ends {
        plan.changes.extend(of_path(root, &state, path, end));
    }
    // Of files only: an engine that hapair stopped for the rollback is not someone else's change.
    plan.fingerprint = fingerprint(what, &plan.changes);
    plan.changes.extend(of_system(root, &entries, &units));
    if !packages.is_empty() {
        plan.changes.push(change(
            "packages",
            Stage::Packages,
            format!("remove {}", packages.join(" ")),
        ));
    }
    let cuts = targets.iter().any(Target::cuts_ssh);
    for change in &mut plan.changes {
        change.cuts_ssh = cuts && matches!(change.stage, Stage::Network | Stage::Firewall);
    }
    plan.changes.sort_by_key(|c| std::cmp::Reverse(c.stage));
    plan.notes = stays.into_iter().collect();
    let conf = root.path(KEEPALIVED_CONF);
    let conf = ends.get(&conf).map_or_else(|| text_at(&conf), |e| e.text.clone());
    let runs_after = runs_after(what.goal, &units, &packages, &|unit| systemd::one(unit).is_active());
    Ok(HostRollbackPlan {
        plan,
        engine_runs_after: runs_after.engine,
        serves_after: runs_after.engine && runs_after.nginx,
        instances: conf.map(|text| election_critical::instances(&text)).unwrap_or_default(),
    })
}

fn refused(foreign: &BTreeSet<PathBuf>) -> Error {
    let paths: Vec<String> = foreign.iter().map(|p| p.display().to_string()).collect();
    Error::new(format!("modified since by someone else: {}", paths.join(", ")))
        .hint("nothing was rolled back: those changes would be lost")
        .hint("`--force` restores the earlier version anyway")
}

fn change(resource: impl Into<String>, stage: Stage, summary: impl Into<String>) -> Change {
    Change {
        resource: resource.into(),
        stage,
        summary: summary.into(),
        diff: None,
        cuts_ssh: false,
        election_critical: false,
    }
}

fn of_path(root: &Root, state: &HostState, path: &Path, end: &End) -> Option<Change> {
    let now = End::now(path);
    if now.print == end.print {
        return None;
    }
    let at = path.display().to_string();
    let is_directory = now.print.starts_with("directory");
    let summary = match (end.print == fingerprint::missing(), is_directory) {
        (true, true) => "remove if empty",
        (true, false) => "remove",
        (false, _) => "as before",
    };
    let resource = state.resources.iter().find(|r| {
        let kind = kinds::of(&r.spec);
        !kind.path().is_empty() && root.path(kind.path()) == path
    });
    let kind = if is_directory { "directory" } else { "file" };
    let mut change = change(
        format!("{kind} {at}"),
        resource.map_or(Stage::Hostname, |r| r.stage),
        summary,
    );
    if let (Some(old), Some(new)) = (&now.text, &end.text) {
        change.diff = unified(&at, old, new, &state.secrets);
        change.election_critical = path == root.path(KEEPALIVED_CONF) && election_critical::differs(old, new);
    }
    Some(change)
}

/// What is not a file. Only the machine itself can be asked for it.
fn of_system(root: &Root, entries: &[Undo], units: &BTreeMap<&str, Before>) -> Vec<Change> {
    if !root.is_live() {
        return Vec::new();
    }
    let mut changes = BTreeMap::new();
    for entry in entries {
        if let Some(planned) = undoings::of(entry).planned(root) {
            let change = change(planned.resource, planned.stage, planned.summary);
            changes.insert(change.resource.clone(), change);
        }
    }
    for (unit, before) in units {
        let now = systemd::one(unit);
        let runs = Switch {
            was: now.is_active(),
            now: before.active,
        }
        .turned(UnitAction::Start, UnitAction::Stop);
        let boots = Switch {
            was: now.is_enabled(),
            now: before.enabled,
        }
        .turned(UnitAction::Enable, UnitAction::Disable);
        let verbs: Vec<&str> = runs.into_iter().chain(boots).map(UnitAction::verb).collect();
        if !verbs.is_empty() {
            let short = unit.strip_suffix(".service").unwrap_or(unit);
            let stage = if *unit == "firewalld.service" {
                Stage::Firewall
            } else {
                Stage::Vrrp
            };
            let change = change(format!("service {short}"), stage, verbs.join(" and "));
            changes.insert(change.resource.clone(), change);
        }
    }
    changes.into_values().collect()
}

/// What runs before and after a rollback or a removal.
#[derive(Debug, PartialEq, Eq)]
struct RunsAfter {
    /// A VRRP engine: also where a pair from before hapair is restored.
    engine: bool,
    /// nginx.
    nginx: bool,
}

fn runs_after(
    goal: Goal,
    units: &BTreeMap<&str, Before>,
    packages: &[String],
    now: &dyn Fn(&str) -> bool,
) -> RunsAfter {
    let is_removed = |unit: &str| match goal {
        Goal::Rollback => false,
        Goal::Remove => unit == Engine::Agent.unit(),
        Goal::RemoveWithPackages => {
            unit == Engine::Agent.unit() || packages.iter().any(|name| format!("{name}.service") == unit)
        }
    };
    let then = |unit: &str| !is_removed(unit) && units.get(unit).map_or_else(|| now(unit), |before| before.active);
    let engines = [Engine::Agent.unit(), Engine::Keepalived.unit()];
    RunsAfter {
        engine: engines.iter().any(|unit| now(unit)) && engines.iter().any(|unit| then(unit)),
        nginx: now("nginx.service") && then("nginx.service"),
    }
}

/// Packages that hapair installed, as far as it is known: also by transactions rolled back since, as the packages stayed.
pub(crate) fn installed(root: &Root, forgotten: &Archive) -> Ours {
    let mut ours = Ours {
        asked: forgotten.packages.clone(),
        along: forgotten.along.clone(),
    };
    for entry in all(root).iter().flat_map(undo::read) {
        if let Some(installed) = undoings::of(&entry).installed() {
            installed.add_to(&mut ours.asked, &mut ours.along);
        }
    }
    ours
}

/// Moves when the host does.
fn fingerprint(what: &HostRollback, changes: &[Change]) -> String {
    let bytes = serde_json::to_vec(&(what, changes)).unwrap_or_default();
    hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = "nginx.service";

    fn before(active: bool) -> Before {
        Before {
            active,
            enabled: active,
        }
    }

    #[test]
    fn a_pair_from_before_hapair_keeps_running() {
        let (agent, keepalived) = (Engine::Agent.unit(), Engine::Keepalived.unit());
        let now = |unit: &str| unit == NGINX || unit == agent;
        let whole = RunsAfter {
            engine: true,
            nginx: true,
        };
        let adopted = BTreeMap::from([(agent, before(false)), (keepalived, before(true))]);
        let fresh = BTreeMap::from([(agent, before(false)), (NGINX, before(false))]);
        for goal in [Goal::Rollback, Goal::Remove, Goal::RemoveWithPackages] {
            assert_eq!(runs_after(goal, &adopted, &[], &now), whole, "{goal:?}");
            let ends = RunsAfter {
                engine: false,
                nginx: false,
            };
            assert_eq!(runs_after(goal, &fresh, &[], &now), ends, "{goal:?}");
        }
        // What is removed runs no longer: the agent whose first start is forgotten, a package of hapair's.
        assert!(!runs_after(Goal::Remove, &BTreeMap::new(), &[], &now).engine);
        assert!(runs_after(Goal::Rollback, &BTreeMap::new(), &[], &now).engine);
        let ours = ["keepalived".to_owned()];
        assert!(!runs_after(Goal::RemoveWithPackages, &adopted, &ours, &now).engine);
        assert!(runs_after(Goal::Remove, &adopted, &ours, &now).engine);
        // systemd does not know a source build of nginx: VRRP runs on without it.
        let without = runs_after(Goal::Remove, &adopted, &[], &|unit| unit == agent);
        assert_eq!(
            without,
            RunsAfter {
                engine: true,
                nginx: false
            }
        );
    }
}

//! What `rpm` and `systemctl` said, asked once and remembered for a moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::host::os::root::Root;
use crate::host::os::{exec, systemd};
use crate::state::UnitState;

/// What `rpm` and `systemctl` said, and when: the plan that follows the hello within moments need not ask again.
#[derive(Debug, Default)]
pub struct Tools {
    packages: BTreeMap<String, Option<String>>,
    units: BTreeMap<String, UnitState>,
    asked: Option<Instant>,
}

/// How long an answer of [`Tools`] may be used.
pub(crate) const FRESH: Duration = Duration::from_secs(3);

impl Tools {
    /// Makes sure that these packages and units are known; asks both tools at once for what is not.
    pub fn ask(&mut self, root: &Root, packages: &[String], units: &[String]) {
        if self.asked.is_none_or(|at| at.elapsed() > FRESH) {
            *self = Tools::default();
        }
        if !root.is_live() {
            return;
        }
        let packages: Vec<String> = packages
            .iter()
            .filter(|p| !self.packages.contains_key(*p))
            .cloned()
            .collect();
        let units: Vec<String> = units.iter().filter(|u| !self.units.contains_key(*u)).cloned().collect();
        self.asked.get_or_insert_with(Instant::now);
        std::thread::scope(|scope| {
            let states = scope.spawn(|| systemd::show(&units));
            self.packages.extend(rpm(&packages));
            self.units.extend(states.join().unwrap_or_default());
        });
    }

    /// Version of an installed package among those asked for.
    pub fn package(&self, name: &str) -> Option<&str> {
        self.packages.get(name)?.as_deref()
    }

    /// A unit among those asked for.
    pub fn unit(&self, name: &str) -> UnitState {
        self.units.get(name).cloned().unwrap_or_default()
    }
}

/// `epoch:version-release` of each; `None` for what is not installed.
pub(crate) fn rpm(names: &[String]) -> BTreeMap<String, Option<String>> {
    let mut found: BTreeMap<String, Option<String>> = names.iter().map(|n| (n.clone(), None)).collect();
    if names.is_empty() {
        return found;
    }
    let mut args = vec!["-q", "--qf", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n", "--"];
    args.extend(names.iter().map(String::as_str));
    let Ok(output) = exec::run("rpm", &args, Duration::from_secs(60)) else {
        return found;
    };
    for line in output.stdout.lines() {
        // `package X is not installed` has more words.
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [name, version] = words[..]
            && let Some(slot) = found.get_mut(name)
        {
            *slot = Some(version.to_owned());
        }
    }
    found
}

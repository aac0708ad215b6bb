//! Taking off the packages that hapair installed, and nothing else: by `rpm -e`, which refuses where something else
//! depends on them. yum would take that along.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::host::os::error::{Error, Result};
use crate::host::os::exec::{self, Output};
use crate::host::os::root::Root;

/// Scriptlets that stop services take their time.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Packages that hapair installed, as far as the host remembers.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    /// Named by hapair.
    pub(crate) asked: BTreeSet<String>,
    /// Brought along by the package manager, for those.
    pub(crate) along: BTreeSet<String>,
}

/// What can be removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Erasure {
    /// Packages, without version.
    pub(crate) names: Vec<String>,
    /// What stays, in words for the operator.
    pub(crate) stays: Vec<String>,
}

/// Finds out what can be removed. Read-only.
///
/// # Errors
/// Something that hapair did not install depends on a package that it did.
pub(crate) fn plan(root: &Root, ours: &Ours) -> Result<Erasure> {
    let asked: Vec<String> = ours.asked.iter().cloned().collect();
    let all: Vec<String> = ours.asked.union(&ours.along).cloned().collect();
    let (asked, all) = (installed(root, &asked), installed(root, &all));
    if !root.is_live() {
        return Ok(Erasure {
            names: all,
            stays: Vec::new(),
        });
    }
    choose(asked, all, &mut test)
}

fn choose(
    asked: Vec<String>,
    all: Vec<String>,
    test: &mut dyn FnMut(&[String]) -> Result<Vec<Dependent>>,
) -> Result<Erasure> {
    let needed = test(&all)?;
    if needed.is_empty() {
        return Ok(Erasure {
            names: all,
            stays: Vec::new(),
        });
    }
    // What was brought along may have found other users since; what was asked for must not.
    let needed_most = if asked.len() < all.len() {
        test(&asked)?
    } else {
        needed.clone()
    };
    if !needed_most.is_empty() {
        let what: Vec<String> = needed_most.iter().map(Dependent::to_string).collect();
        let message = format!(
            "packages that hapair installed are needed by others: {}",
            what.join(", ")
        );
        return Err(Error::new(message)
            .hint("nothing was changed; first remove what needs them, or run without `--packages` to keep them"));
    }
    let along: Vec<&str> = all.iter().filter(|n| !asked.contains(n)).map(String::as_str).collect();
    let users: BTreeSet<&str> = needed.iter().map(|d| d.package.as_str()).collect();
    let users: Vec<&str> = users.into_iter().collect();
    let stays = format!(
        "dependencies stay installed ({}): {} needs some of them",
        along.join(" "),
        users.join(" and ")
    );
    Ok(Erasure {
        names: asked,
        stays: vec![stays],
    })
}

/// Takes them off. Returns what stays.
///
/// # Errors
/// As [`plan`], or rpm fails.
pub(crate) fn run(root: &Root, ours: &Ours, log: &mut dyn FnMut(&str)) -> Result<Vec<String>> {
    let Erasure { names, stays } = plan(root, ours)?;
    if !names.is_empty() && root.is_live() {
        let args = args(&["-e"], &names);
        log(&format!("rpm {}", args.join(" ")));
        let output = exec::run_lines("rpm", &args, LIMIT, log)?;
        if !output.ok() {
            return Err(exec::failed("rpm", &args, &output, LIMIT));
        }
    }
    Ok(stays)
}

/// Which of these are installed, in the order given; all of them where there is no rpm to ask.
pub(crate) fn installed(root: &Root, names: &[String]) -> Vec<String> {
    if names.is_empty() || !root.is_live() {
        return names.to_vec();
    }
    let mut args = vec!["-q", "--qf", "%{NAME}\\n", "--"];
    args.extend(names.iter().map(String::as_str));
    let said = exec::run("rpm", &args, Duration::from_secs(60)).map(|o| o.stdout);
    let said = said.unwrap_or_default();
    let there: BTreeSet<&str> = said.lines().collect();
    names.iter().filter(|n| there.contains(n.as_str())).cloned().collect()
}

/// Names of everything that is installed; `None`: rpm does not say.
pub(crate) fn everything() -> Option<BTreeSet<String>> {
    let output = exec::run("rpm", &["-qa", "--qf", "%{NAME}\\n"], Duration::from_secs(120)).ok()?;
    output.ok().then(|| output.stdout.lines().map(str::to_owned).collect())
}

/// Two architectures of one name go together.
fn args<'a>(words: &[&'a str], names: &'a [String]) -> Vec<&'a str> {
    let names = names.iter().map(String::as_str);
    words
        .iter()
        .copied()
        .chain(["--allmatches", "--"])
        .chain(names)
        .collect()
}

/// An installed package that something would be missing for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dependent {
    /// With version.
    package: String,
    /// The capability.
    needs: String,
}

impl std::fmt::Display for Dependent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} needs {}", self.package, self.needs)
    }
}

/// Who would miss these packages.
fn test(names: &[String]) -> Result<Vec<Dependent>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let args = args(&["-e", "--test"], names);
    let output = exec::run("rpm", &args, LIMIT)?;
    if output.ok() {
        return Ok(Vec::new());
    }
    match dependents(&output) {
        found if found.is_empty() => Err(exec::failed("rpm", &args, &output, LIMIT)),
        found => Ok(found),
    }
}

fn dependents(output: &Output) -> Vec<Dependent> {
    let lines = output.stderr.lines().chain(output.stdout.lines());
    lines
        .filter_map(|line| {
            let (needs, package) = line.split_once(" is needed by (installed) ")?;
            Some(Dependent {
                package: package.trim().to_owned(),
                needs: needs.trim().to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn needing(package: &str, needs: &str) -> Dependent {
        Dependent {
            package: package.into(),
            needs: needs.into(),
        }
    }

    #[test]
    fn rpm_names_who_depends() {
        let output = Output {
            code: Some(1),
            stderr: "error: Failed dependencies:\n\tnginx >= 1:1.20 is needed by (installed) shop-2.1-1.el7.noarch\n\t\
                     libnetsnmp.so.31()(64bit) is needed by (installed) net-snmp-utils-1:5.7.2-49.el7.x86_64\n"
                .into(),
            ..Output::default()
        };
        assert_eq!(
            dependents(&output),
            [
                needing("shop-2.1-1.el7.noarch", "nginx >= 1:1.20"),
                needing("net-snmp-utils-1:5.7.2-49.el7.x86_64", "libnetsnmp.so.31()(64bit)")
            ]
        );
        assert!(dependents(&Output::default()).is_empty());
    }

    #[test]
    fn what_others_need_is_refused_by_name_and_nothing_is_taken_along() {
        let mut asked_about = Vec::new();
        let shop = || Ok(vec![needing("shop-2.1-1.el7.noarch", "nginx")]);
        let error = choose(names(&["nginx"]), names(&["nginx", "nginx-libs"]), &mut |names| {
            asked_about.push(names.to_vec());
            shop()
        })
        .unwrap_err();
        assert!(error.message.ends_with("shop-2.1-1.el7.noarch needs nginx"), "{error}");
        assert_eq!(asked_about, [names(&["nginx", "nginx-libs"]), names(&["nginx"])]);
    }

    #[test]
    fn what_came_along_stays_where_others_use_it() {
        let (asked, all) = (names(&["keepalived"]), names(&["keepalived", "net-snmp-libs"]));
        let whole = choose(asked.clone(), all.clone(), &mut |_| Ok(Vec::new())).unwrap();
        assert_eq!((whole.names, whole.stays), (all.clone(), vec![]));
        let part = choose(asked.clone(), all, &mut |names| {
            let along = names.iter().any(|n| n == "net-snmp-libs");
            Ok(Vec::from_iter(
                along.then(|| needing("net-snmp-utils-5.7", "libnetsnmp.so")),
            ))
        })
        .unwrap();
        assert_eq!(part.names, asked);
        assert_eq!(
            part.stays,
            ["dependencies stay installed (net-snmp-libs): net-snmp-utils-5.7 needs some of them"]
        );
    }
}

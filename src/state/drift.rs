//! What is no longer as hapair left it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Utc;
use super::txn_id::TxnId;

/// One resource that somebody changed after hapair had last left it as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The resource's id.
    pub resource: String,
    /// What is different, one line, lower case: `2 lines changed, mode 0644 to 0600`, `deleted`, `stopped and disabled`.
    pub what: String,
    /// When hapair left it so, ms since 1970, the host's clock.
    pub since_ms: u64,
    /// The transaction at whose end that was.
    pub transaction: TxnId,
    /// Who changed it, as far as can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// When it was changed, as far as can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Moment>,
    /// The package that ships the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Packaged>,
    /// Files that the package manager left beside it since: `.rpmnew`, `.rpmsave`, `.rpmorig`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
    /// Unified diff from what hapair left to what is there now, secrets masked; none of a secret file or a binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// What an apply does about it.
    pub remedy: Remedy,
}

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum By {
    /// Nobody but this user (and root) may write there.
    User {
        /// By name, or the number.
        name: String,
    },
    /// The package was installed since, and the file is as it ships it.
    Package {
        /// `nginx-1.26.1-1.el7.ngx`.
        package: String,
    },
    /// hapair itself, otherwise than at the end of an apply.
    Hapair {
        /// Which way.
        what: String,
    },
    /// Nobody: the unit failed.
    Itself,
}

/// When something was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Last at this time, ms since 1970, the host's clock.
    AtMs(u64),
    /// Then or before: of what is gone only its directory tells.
    AtOrBeforeMs(u64),
}

/// A package and its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packaged {
    /// Name, version and release.
    pub package: String,
    /// The content is what the package ships (`rpm -V`).
    pub as_shipped: bool,
}

/// What an apply does about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Makes it as desired again.
    PutsRight,
    /// Leaves it: hapair has no opinion on what was changed (another line of a file it only edits).
    Keeps,
}

impl Drift {
    /// One line for people, without the resource's name: `changed by hand since 2026-11-22T16:45:12Z
    /// (20261122T164512Z-3f9a-2): 2 lines changed, by root at 2026-11-23T08:00:00Z`.
    pub fn account(&self) -> String {
        let head = match &self.by {
            None | Some(By::User { .. }) => "changed by hand".to_owned(),
            Some(By::Package { package }) => format!("changed by the package {package}"),
            Some(By::Hapair { what }) => format!("changed by hapair itself, {what},"),
            Some(By::Itself) => "changed by itself".to_owned(),
        };
        let mut line = format!(
            "{head} since {} ({}): {}",
            moment(self.since_ms),
            self.transaction,
            self.what
        );
        match &self.by {
            Some(By::User { name }) if name == "root" => line.push_str(", by root"),
            Some(By::User { name }) => line.push_str(&format!(", by {name} or root")),
            _ => {}
        }
        match self.when {
            Some(Moment::AtMs(ms)) => line.push_str(&format!(" at {}", moment(ms))),
            Some(Moment::AtOrBeforeMs(ms)) => line.push_str(&format!(" at {} or before", moment(ms))),
            None => {}
        }
        match (&self.package, &self.by) {
            (_, Some(By::Package { .. })) | (None, _) => {}
            (Some(p), _) if p.as_shipped => line.push_str(&format!("; as the package {} ships it", p.package)),
            (Some(p), _) => line.push_str(&format!("; a file of the package {}", p.package)),
        }
        if !self.beside.is_empty() {
            line.push_str(&format!("; beside it: {}", self.beside.join(", ")));
        }
        if self.remedy == Remedy::Keeps {
            line.push_str("; apply keeps it");
        }
        line
    }
}

fn moment(ms: u64) -> String {
    Utc::since_epoch(Duration::from_millis(ms)).rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_who_and_when() {
        let mut drift = Drift {
            resource: "file /etc/nginx/conf.d/default.conf".into(),
            what: "2 lines changed".into(),
            since_ms: 1_795_365_935_000,
            transaction: TxnId::new("20261122T164512Z-3f9a-2").expect("valid"),
            by: Some(By::User { name: "root".into() }),
            when: Some(Moment::AtMs(1_795_365_936_999)),
            package: None,
            beside: Vec::new(),
            diff: None,
            remedy: Remedy::PutsRight,
        };
        assert_eq!(
            drift.account(),
            "changed by hand since 2026-11-22T16:45:35Z (20261122T164512Z-3f9a-2): 2 lines changed, by root at \
             2026-11-22T16:45:36Z"
        );
        drift.by = Some(By::Package {
            package: "nginx-1.26.1-1".into(),
        });
        drift.package = Some(Packaged {
            package: "nginx-1.26.1-1".into(),
            as_shipped: true,
        });
        drift.beside = vec!["/etc/nginx/conf.d/default.conf.rpmsave".into()];
        assert_eq!(
            drift.account(),
            "changed by the package nginx-1.26.1-1 since 2026-11-22T16:45:35Z (20261122T164512Z-3f9a-2): 2 lines changed \
             at 2026-11-22T16:45:36Z; beside it: /etc/nginx/conf.d/default.conf.rpmsave"
        );
        drift.by = Some(By::User { name: "ann".into() });
        drift.when = Some(Moment::AtOrBeforeMs(1_795_365_936_000));
        drift.what = "deleted".into();
        drift.beside.clear();
        drift.package = None;
        drift.remedy = Remedy::Keeps;
        assert!(
            drift
                .account()
                .ends_with(": deleted, by ann or root at 2026-11-22T16:45:36Z or before; apply keeps it"),
            "{}",
            drift.account()
        );
    }
}

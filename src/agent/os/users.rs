//! Users and groups from /etc/passwd and /etc/group, read by ourselves: a static binary cannot ask NSS.

use std::fs;

/// Numbers to run something as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Every group: `gid`, and those that name the user (initgroups(3)).
    pub(crate) groups: Vec<u32>,
}

impl Ids {
    /// root, with the groups that the daemon has.
    pub(crate) const ROOT: Ids = Ids {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    };

    /// Nothing changes for it: what root runs, root's daemon runs as it is.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }

    /// Those of the process itself.
    #[cfg(test)]
    pub(crate) fn of_this_process() -> Ids {
        // SAFETY: neither has arguments nor can fail.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        Ids {
            uid,
            gid,
            groups: vec![gid],
        }
    }
}

/// Ids of a user, by name or number, and of a group if one is named.
pub(crate) fn lookup(user: &str, group: Option<&str>) -> Result<Ids, String> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(|e| format!("cannot read /etc/passwd: {e}"))?;
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    find(&passwd, &groups, user, group)
}

fn find(passwd: &str, groups: &str, user: &str, group: Option<&str>) -> Result<Ids, String> {
    let entry = |text: &'_ str, name: &str, column: usize| -> Option<Vec<String>> {
        let rows = text
            .lines()
            .map(|l| l.split(':').map(str::to_owned).collect::<Vec<_>>());
        rows.into_iter()
            .find(|f| f.first().is_some_and(|n| n == name) || f.get(column).is_some_and(|id| id == name))
    };
    let number = |fields: &[String], column: usize| fields.get(column).and_then(|f| f.parse::<u32>().ok());
    let row = entry(passwd, user, 2).ok_or_else(|| format!("there is no user `{user}`"))?;
    let (uid, own) = (number(&row, 2), number(&row, 3));
    let gid = match group {
        None => own,
        Some(name) => number(
            &entry(groups, name, 2).ok_or_else(|| format!("there is no group `{name}`"))?,
            2,
        ),
    };
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok(Ids {
            uid,
            gid,
            groups: memberships(groups, row.first().map_or("", String::as_str), gid),
        }),
        _ => Err(format!("the entry of `{user}` is broken")),
    }
}

/// The group itself, then every other one whose list of members names the user.
fn memberships(groups: &str, user: &str, gid: u32) -> Vec<u32> {
    let others = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let id = fields.nth(2)?.parse::<u32>().ok()?;
        fields.next()?.split(',').any(|m| m == user).then_some(id)
    });
    let mut all = vec![gid];
    all.extend(others.filter(|id| *id != gid));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let passwd = "root:x:0:0::/root:/bin/sh\nkeepalived_script:x:994:991::/:/sbin/nologin\nbroken\n";
        let groups = "root:x:0:\nadm:x:4:\nssl:x:7:other,keepalived_script\nbroken:x\n";
        let script = |gid, groups| Ok(Ids { uid: 994, gid, groups });
        let ids = |user, group| find(passwd, groups, user, group);
        assert_eq!(ids("keepalived_script", None), script(991, vec![991, 7]));
        assert_eq!(ids("994", Some("adm")), script(4, vec![4, 7]));
        assert!(ids("nobody", None).is_err());
        assert!(ids("broken", None).is_err());
        assert!(ids("root", Some("wheel")).is_err());
    }
}

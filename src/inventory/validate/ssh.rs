//! `ssh`: how to reach the hosts.

use std::path::PathBuf;

use crate::inventory::context::At;
use crate::inventory::grammar::{JUMP, LOCAL_PATH, USER};
use crate::inventory::model::{Become, Ssh};
use crate::inventory::node::Value;
use crate::inventory::secret::expand_home;
use crate::inventory::table::Table;

const KEYS: &[&str] = &[
    "user",
    "port",
    "identity_file",
    "password",
    "become",
    "known_hosts",
    "proxy_jump",
];

/// Everything is optional: what is not written comes from `~/.ssh/config`.
pub(super) fn read(inventory: &Table<'_>) -> Ssh {
    let nothing = Ssh {
        user: None,
        port: None,
        identity_file: None,
        password: None,
        r#become: None,
        known_hosts: None,
        proxy_jump: None,
    };
    let Some(table) = inventory.table("ssh", KEYS) else {
        return nothing;
    };
    // Relative paths start at the inventory, so that the command may be run from anywhere.
    let path = |found: Option<At<String>>| -> Option<PathBuf> {
        found.map(|p| inventory.context.dir.join(expand_home(p.value.as_ref())))
    };
    let value = |found: Option<At<String>>| found.map(|v| v.value);
    Ssh {
        user: value(table.word("user", &USER)),
        port: table
            .integer("port", 1..=65535)
            .and_then(|p| u16::try_from(p.value).ok()),
        identity_file: path(table.word("identity_file", &LOCAL_PATH)),
        password: table.secret("password").map(|s| s.value),
        r#become: r#become(&table),
        known_hosts: path(table.word("known_hosts", &LOCAL_PATH)),
        proxy_jump: value(table.word("proxy_jump", &JUMP)),
    }
}

/// `become: true`, or a mapping with sudo's password.
fn r#become(ssh: &Table<'_>) -> Option<Become> {
    match &ssh.get("become")?.value {
        Value::Scalar { .. } => ssh.flag("become")?.value.then(Become::default),
        _ => {
            let table = ssh.table("become", &["password"])?;
            Some(Become {
                password: table.secret("password").map(|s| s.value),
            })
        }
    }
}

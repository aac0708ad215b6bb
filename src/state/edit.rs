//! Edits of files that other hands write too. Each is idempotent: applying it twice is applying it once.

use serde::{Deserialize, Serialize};

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// A `KEY=value` line, starting at column one (`ifcfg-*`, `/etc/selinux/config`, `/etc/sysconfig/*`).
    ///
    /// The first such line is rewritten in place and further ones are dropped; a missing one is appended. `None`
    /// removes the key. The value is written as given: the caller quotes.
    Assign {
        /// Variable name.
        key: String,
        /// Text right of `=`.
        value: Option<String>,
    },
    /// A `key=value` line in a section of an ini file (NetworkManager keyfile, `.repo`).
    Ini {
        /// Without brackets; appended at the end of the file if missing.
        section: String,
        /// Key.
        key: String,
        /// `None` removes the key.
        value: Option<String>,
    },
    /// `/etc/hosts`: these names resolve to this address and to no other that this edit set names.
    Hosts {
        /// IPv4 or IPv6 address.
        address: String,
        /// Names to be on the address's first line.
        names: Vec<String>,
        /// Names to be taken off this address's lines: a former host name.
        remove: Vec<String>,
    },
    /// Lines between `# BEGIN hapair NAME` and `# END hapair NAME`, kept together; appended if missing.
    Block {
        /// Which block.
        name: String,
        /// Lines inside; empty removes the block.
        lines: Vec<String>,
    },
}

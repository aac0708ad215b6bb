//! Who is told of transitions, by which commands.

/// A user and perhaps a group, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub user: String,
    /// Group; `None`: the user's own.
    pub group: Option<String>,
}

/// Something to execute, without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `None`: `script_user`.
    pub user: Option<User>,
}

/// A FIFO for notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fifo {
    /// Its path; `None`: there is none.
    pub path: Option<String>,
    /// Its owner.
    pub user: Option<User>,
    /// Reads it; gets the path as its last argument.
    pub script: Option<Command>,
}

/// What is said of an instance that a reload takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Deleted {
    /// That it is in FAULT.
    #[default]
    Fault,
    /// `notify_deleted`: that it is DELETED; the command runs too, if one is written.
    Deleted(Option<Command>),
}

/// Notifications of an instance or a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notify {
    /// Every transition; gets `INSTANCE|GROUP name STATE priority`.
    pub any: Option<Command>,
    /// To MASTER.
    pub master: Option<Command>,
    /// To BACKUP.
    pub backup: Option<Command>,
    /// To FAULT.
    pub fault: Option<Command>,
    /// At stop.
    pub stop: Option<Command>,
    /// Gone after a reload.
    pub deleted: Deleted,
    /// A lower priority was heard while MASTER.
    pub master_rx_lower_pri: Option<Command>,
    /// Mail; `None`: as in `global_defs`.
    pub smtp_alert: Option<bool>,
    /// Priority changes too.
    pub priority_changes: Option<bool>,
}

impl Notify {
    /// Every command that is written, with its keyword.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &Command)> {
        let deleted = match &self.deleted {
            Deleted::Deleted(command) => command.as_ref(),
            Deleted::Fault => None,
        };
        let all = [
            ("notify", self.any.as_ref()),
            ("notify_master", self.master.as_ref()),
            ("notify_backup", self.backup.as_ref()),
            ("notify_fault", self.fault.as_ref()),
            ("notify_stop", self.stop.as_ref()),
            ("notify_deleted", deleted),
            ("notify_master_rx_lower_pri", self.master_rx_lower_pri.as_ref()),
        ];
        all.into_iter()
            .filter_map(|(keyword, command)| Some((keyword, command?)))
    }
}

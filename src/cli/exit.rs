//! Exit codes: a contract with scripts.

use crate::drill::DrillErrorKind;
use crate::remote::RemoteErrorKind;
use crate::rollout::RolloutErrorKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; for `plan`: nothing to do.
    Done,
    /// 1: failed.
    Failed,
    /// 2: wrong usage or inventory.
    Usage,
    /// 3: `plan` found changes.
    Changes,
    /// 4: a host could not be reached or refused us.
    Unreachable,
    /// 5: applied, then rolled back.
    RolledBack,
    /// 6: the drill ran and a scenario missed its budget.
    OverBudget,
    /// 7: a finding blocks; nothing was changed.
    Blocked,
    /// What a command run on the operator's behalf (`lab ssh`, `lab exec`) ended with.
    Child(u8),
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Changes => 3,
            Exit::Unreachable => 4,
            Exit::RolledBack => 5,
            Exit::OverBudget => 6,
            Exit::Blocked => 7,
            Exit::Child(code) => code,
        }
    }
}

/// Without a kind: it failed.
impl From<()> for Exit {
    fn from((): ()) -> Exit {
        Exit::Failed
    }
}

impl From<RemoteErrorKind> for Exit {
    fn from(kind: RemoteErrorKind) -> Exit {
        RolloutErrorKind::from(kind).into()
    }
}

impl From<RolloutErrorKind> for Exit {
    fn from(kind: RolloutErrorKind) -> Exit {
        match kind {
            RolloutErrorKind::Failed => Exit::Failed,
            RolloutErrorKind::Usage => Exit::Usage,
            RolloutErrorKind::Unreachable => Exit::Unreachable,
            RolloutErrorKind::RolledBack => Exit::RolledBack,
        }
    }
}

impl From<DrillErrorKind> for Exit {
    fn from(kind: DrillErrorKind) -> Exit {
        match kind {
            DrillErrorKind::Usage => Exit::Usage,
            DrillErrorKind::Host(kind) => kind.into(),
            DrillErrorKind::Precondition | DrillErrorKind::Cancelled | DrillErrorKind::Local => Exit::Failed,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

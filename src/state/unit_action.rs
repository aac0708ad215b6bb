//! What systemd is asked to do with a unit.

use serde::{Deserialize, Serialize};

/// What to do with a unit, in systemctl's verbs. Written in lower case wherever it is stored or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitAction {
    /// Start it, if it does not run.
    Start,
    /// Stop it.
    Stop,
    /// Have it read its configuration again, without a stop.
    Reload,
    /// Stop it if it runs, then start it.
    Restart,
    /// Have every boot start it.
    Enable,
    /// Have no boot start it.
    Disable,
}

impl UnitAction {
    /// systemctl's verb.
    pub const fn verb(self) -> &'static str {
        match self {
            UnitAction::Start => "start",
            UnitAction::Stop => "stop",
            UnitAction::Reload => "reload",
            UnitAction::Restart => "restart",
            UnitAction::Enable => "enable",
            UnitAction::Disable => "disable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Request;

    #[test]
    fn stored_and_sent_as_systemctl_says_it() {
        let all = [
            (UnitAction::Start, "start"),
            (UnitAction::Stop, "stop"),
            (UnitAction::Reload, "reload"),
            (UnitAction::Restart, "restart"),
            (UnitAction::Enable, "enable"),
            (UnitAction::Disable, "disable"),
        ];
        for (action, verb) in all {
            assert_eq!(action.verb(), verb);
            let request = Request::Unit {
                unit: "nginx.service".into(),
                action,
            };
            let sent = format!(r#"{{"request":"unit","unit":"nginx.service","action":"{verb}"}}"#);
            assert_eq!(serde_json::to_string(&request).unwrap(), sent);
            assert_eq!(serde_json::from_str::<Request>(&sent).unwrap(), request);
        }
    }
}

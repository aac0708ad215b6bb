//! How long a check script may take by what it does.

use super::model::ScriptKind;

/// Seconds that a `restart` script gives nginx to come up before it counts as down. The script is rendered with
/// this limit on the start command, so that it always ends inside its own timeout.
pub const RESTART_START_SECONDS: u32 = 8;

/// Seconds for starting processes and for a busy host, added to what a script does.
const MARGIN: u32 = 1;

/// Least `timeout` of a `command` script when none is written, in seconds; it is raised to the interval.
pub const COMMAND_DEFAULT_TIMEOUT: u32 = 1;

/// The least timeout, in whole seconds, within which a script of this kind can end by itself.
///
/// * `http`: `tries * try_timeout + (tries - 1) * pause`, plus a second of margin.
/// * `restart`: [`RESTART_START_SECONDS`] for the start, a second for looking before and after, plus the margin.
/// * `command`: 1, as nothing is known of it.
///
/// keepalived kills a script that runs longer and counts that as a failure; without a written timeout it takes the
/// interval, which is far too short for a script that waits (facts of 1.3.5, `vrrp_scheduler.c`).
pub fn minimum_timeout(kind: &ScriptKind) -> u32 {
    match kind {
        ScriptKind::Http {
            try_timeout,
            tries,
            pause,
            ..
        } => {
            tries
                .saturating_mul(*try_timeout)
                .saturating_add(tries.saturating_sub(1).saturating_mul(*pause))
                + MARGIN
        }
        ScriptKind::Restart { .. } => RESTART_START_SECONDS + 1 + MARGIN,
        ScriptKind::Command { .. } => 1,
    }
}

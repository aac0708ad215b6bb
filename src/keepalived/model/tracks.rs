//! What is tracked, and with which weight.

use std::time::Duration;

use super::notify::Command;
use crate::keepalived::diag::Place;

/// A weight: what a tracked thing does to the priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// -253 to 253; 0: failing means FAULT; above 0: added while good; below: subtracted while failing.
    pub value: i16,
    /// Without a weight, good and failing change places; else the weight's sign is turned round.
    pub reverse: bool,
}

/// `vrrp_script`.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// Name.
    pub name: String,
    /// What runs, and as whom.
    pub command: Command,
    /// Start to start; 1 s unless written.
    pub interval: Duration,
    /// After it the run counts as failed; `interval` unless written.
    pub timeout: Duration,
    /// For who does not write one of his own.
    pub weight: Weight,
    /// Successes in a row.
    pub rise: u32,
    /// Failures in a row.
    pub fall: u32,
    /// Counts as failed until it succeeded.
    pub init_fail: bool,
    /// Where it is written.
    pub place: Place,
}

/// Which parameters a tracked process must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParamMatch {
    /// Whatever it has.
    #[default]
    Any,
    /// Those written and no others.
    Exact,
    /// `partial`: those written first, then perhaps others.
    Partial,
    /// `initial`: those written, where the last one may go on.
    Initial,
}

/// `vrrp_track_process`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackProcess {
    /// Name.
    pub name: String,
    /// Name as in /proc/PID/comm or, with `full_command`, as in /proc/PID/cmdline; then parameters.
    pub process: Vec<String>,
    /// `param_match`; parameters alone mean that no others may follow.
    pub params: ParamMatch,
    /// Compare /proc/PID/cmdline.
    pub full_command: bool,
    /// For who does not write one of his own.
    pub weight: Weight,
    /// How many must run; 1 unless written.
    pub quorum: u32,
    /// No more may run; `None`: any number.
    pub quorum_max: Option<u32>,
    /// Time before an appearance counts.
    pub fork_delay: Duration,
    /// Time before a disappearance counts.
    pub terminate_delay: Duration,
    /// Where it is written.
    pub place: Place,
}

/// `track_file`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackFile {
    /// Name.
    pub name: String,
    /// The file whose number is read.
    pub file: String,
    /// Multiplied with the number; `None`: 1.
    pub weight: Option<i32>,
    /// The sign is turned round.
    pub reverse: bool,
    /// Number that the file is created with.
    pub init: Option<i32>,
    /// Where it is written.
    pub place: Place,
}

/// A tracked thing and its own weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Name of script, process or file; or an interface.
    pub name: String,
    /// `None`: that of the tracked thing.
    pub weight: Option<Weight>,
    /// Where it is written.
    pub place: Place,
}

/// Everything that an instance or a group tracks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tracks {
    /// `track_interface`.
    pub interfaces: Vec<Track>,
    /// `track_script`.
    pub scripts: Vec<Track>,
    /// `track_process`.
    pub processes: Vec<Track>,
    /// `track_file`.
    pub files: Vec<Track>,
}

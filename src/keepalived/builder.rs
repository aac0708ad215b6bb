//! What is being built: the configuration so far, and what is to be said about it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::diag::{Diagnostic, Place};
use super::model::*;
use super::source::Resolver;

/// Blocks that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Instance,
    Group,
    Script,
    Process,
    File,
}

impl Kind {
    pub(super) fn keyword(self) -> &'static str {
        match self {
            Kind::Instance => "vrrp_instance",
            Kind::Group => "vrrp_sync_group",
            Kind::Script => "vrrp_script",
            Kind::Process => "vrrp_track_process",
            Kind::File => "track_file",
        }
    }
}

pub(super) struct Builder<'d> {
    pub(super) config: Config,
    /// Where the files of keys come from.
    pub(super) resolver: &'d dyn Resolver,
    pub(super) out: &'d mut Vec<Diagnostic>,
    /// Places of skipped blocks.
    pub(super) skipped: Vec<(Place, String)>,
    /// Unknown words for which a like one has been looked for.
    pub(super) guesses: usize,
    /// What has been read so far, and in which line.
    pub(super) named: HashMap<(Kind, String), u32>,
}

impl Builder<'_> {
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.out.push(Diagnostic::error(place, message));
    }

    pub(super) fn warn(&mut self, place: &Place, message: impl Into<String>) {
        self.out.push(Diagnostic::warning(place, message));
    }

    /// Whether a name is new among its kind; of two the first counts, as in keepalived.
    pub(super) fn is_first(&mut self, kind: Kind, name: &str, place: &Place) -> bool {
        let entry = self.named.entry((kind, name.to_owned()));
        let first = match entry {
            Entry::Vacant(entry) => {
                entry.insert(place.line);
                return true;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        let keyword = kind.keyword();
        let message =
            format!("{keyword} `{name}` exists already, at line {first}: this one is ignored, as in keepalived");
        self.warn(place, message);
        false
    }
}

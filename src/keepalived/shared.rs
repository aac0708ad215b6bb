//! `vrrp_sync_group`, and the words that groups share with instances: what they track and who is told.

use super::build::Builder;
use super::model::*;
use super::table;
use super::tree::{Stmt, Word, split_command};
use super::value::Value;

impl Builder<'_> {
    pub(super) fn sync_group(&mut self, stmt: &Stmt, name: String) {
        let mut g = SyncGroup {
            name,
            members: Vec::new(),
            tracks: Tracks::default(),
            notify: Notify::default(),
            global_tracking: false,
            tracking_weight: false,
            place: stmt.place.clone(),
        };
        for line in stmt.children() {
            let Some(value) = self.value(table::SYNC, line) else {
                continue;
            };
            match (line.keyword(), value) {
                ("group", _) => {
                    let words = line.children().iter().flat_map(|l| &l.words);
                    g.members.extend(words.map(|w| (w.text.clone(), w.place.clone())));
                }
                ("global_tracking", Value::Flag(on)) => g.global_tracking = on,
                ("sync_group_tracking_weight", Value::Flag(on)) => g.tracking_weight = on,
                (_, value) => self.shared(line, value, &mut g.tracks, &mut g.notify),
            }
        }
        self.config.sync_groups.push(g);
    }

    /// Keywords that groups and instances share.
    pub(super) fn shared(&mut self, line: &Stmt, value: Value<'_>, tracks: &mut Tracks, notify: &mut Notify) {
        match (line.keyword(), value) {
            ("track_interface", _) => self.tracks(line, &mut tracks.interfaces),
            ("track_script", _) => self.tracks(line, &mut tracks.scripts),
            ("track_file", _) => self.tracks(line, &mut tracks.files),
            ("track_process", _) => self.tracks(line, &mut tracks.processes),
            ("smtp_alert", Value::Flag(on)) => notify.smtp_alert = Some(on),
            ("notify_priority_changes", Value::Flag(on)) => notify.priority_changes = Some(on),
            // With a command or without one.
            ("notify_deleted", Value::Words(words)) => {
                let command = words.first().map(|_| command(words));
                notify.deleted = Deleted::Deleted(command.filter(|c| !c.argv.is_empty()));
            }
            (name, Value::Words(words)) => {
                let slot = match name {
                    "notify" => &mut notify.any,
                    "notify_master" => &mut notify.master,
                    "notify_backup" => &mut notify.backup,
                    "notify_fault" => &mut notify.fault,
                    "notify_stop" => &mut notify.stop,
                    "notify_master_rx_lower_pri" => &mut notify.master_rx_lower_pri,
                    _ => return,
                };
                let command = command(words);
                if command.argv.is_empty() {
                    self.error(&words[0].place, format!("`{name}` names no command"));
                    return;
                }
                *slot = Some(command);
            }
            _ => {}
        }
    }

    fn tracks(&mut self, stmt: &Stmt, list: &mut Vec<Track>) {
        for line in stmt.children() {
            let weight = match line.args() {
                [] => None,
                [word, rest @ ..] if word.text == "weight" && !rest.is_empty() => self.weight(rest, 254),
                [word, ..] => {
                    self.warn(
                        &word.place,
                        format!("`{}` after `{}` is ignored", word.text, line.keyword()),
                    );
                    None
                }
            };
            list.push(Track {
                name: line.keyword().to_owned(),
                weight,
                place: line.place.clone(),
            });
        }
    }
}

/// `user [group]`.
pub(super) fn user(words: &[Word]) -> Option<User> {
    let user = words.first()?.text.clone();
    Some(User {
        user,
        group: words.get(1).map(|w| w.text.clone()),
    })
}

pub(super) fn command(words: &[Word]) -> Command {
    let (first, rest) = words.split_first().map_or(("", &[][..]), |(f, r)| (f.text.as_str(), r));
    Command {
        argv: split_command(first),
        user: user(rest),
    }
}

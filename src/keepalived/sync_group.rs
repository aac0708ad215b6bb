//! `vrrp_sync_group`, and the words that groups share with instances: what they track and who is told.

use std::collections::{HashMap, HashSet};

use super::builder::{Builder, Kind};
use super::diag::Diagnostic;
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
                ("group", _) if !g.members.is_empty() => self.warn(
                    &line.place,
                    format!(
                        "`{}` has its members already: this `group` is ignored, as in keepalived",
                        g.name
                    ),
                ),
                ("group", _) => {
                    let words = line.children().iter().flat_map(|l| &l.words);
                    g.members.extend(words.map(|w| (w.text.clone(), w.place.clone())));
                }
                ("global_tracking", Value::Flag(on)) => g.global_tracking = on,
                ("sync_group_tracking_weight", Value::Flag(on)) => g.tracking_weight = on,
                (_, value) => self.shared(line, value, &mut g.tracks, &mut g.notify),
            }
        }
        self.dedupe(&mut g.tracks);
        if self.is_first(Kind::Group, &g.name, &g.place) {
            self.config.sync_groups.push(g);
        }
    }

    /// Removes from the groups members that do not exist or belong to another group, and then groups without members.
    pub(super) fn settle_groups(&mut self) {
        let mut groups = std::mem::take(&mut self.config.sync_groups);
        let known: HashSet<String> = self.config.instances.iter().map(|i| i.name.clone()).collect();
        let mut taken: HashMap<String, String> = HashMap::new();
        groups.retain_mut(|group| {
            let had_members = !group.members.is_empty();
            group.members.retain(|(member, place)| {
                if !known.contains(member) {
                    let message = format!("there is no vrrp_instance `{member}`: it is ignored, as in keepalived");
                    self.warn(place, message);
                    return false;
                }
                match taken.get(member) {
                    None => {
                        taken.insert(member.clone(), group.name.clone());
                        true
                    }
                    Some(first) => {
                        let message = format!(
                            "`{member}` is a member of `{first}` already: it is ignored here, as in keepalived"
                        );
                        self.warn(place, message);
                        false
                    }
                }
            });
            if group.members.is_empty() {
                let what = if had_members { "no members left" } else { "no members" };
                let message = format!(
                    "vrrp_sync_group `{}` has {what}: it is ignored, as in keepalived",
                    group.name
                );
                self.warn(&group.place, message);
            }
            !group.members.is_empty()
        });
        self.config.sync_groups = groups;
    }

    /// Keywords that groups and instances share.
    pub(super) fn shared(&mut self, line: &Stmt, value: Value<'_>, tracks: &mut Tracks, notify: &mut Notify) {
        match (line.keyword(), value) {
            ("track_interface", _) => self.tracks(line, None, &mut tracks.interfaces),
            ("track_script", _) => self.tracks(line, Some(Kind::Script), &mut tracks.scripts),
            ("track_file", _) => self.tracks(line, Some(Kind::File), &mut tracks.files),
            ("track_process", _) => self.tracks(line, Some(Kind::Process), &mut tracks.processes),
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
                if slot.is_some() {
                    let message = format!("`{name}` is written already: this one is ignored, as in keepalived");
                    self.warn(&line.place, message);
                    return;
                }
                *slot = Some(command);
                self.no_shell(&words[0]);
            }
            _ => {}
        }
    }

    /// Warns of a command that only a shell would understand; keepalived ran notify scripts through one up to 1.3.
    pub(super) fn no_shell(&mut self, command: &Word) {
        if command.text.contains(['|', ';', '>', '<', '`', '&']) || command.text.contains("$(") {
            let message = "the command has shell characters, but no shell runs it";
            let d = Diagnostic::warning(&command.place, message);
            self.out.push(d.hint("write a script file, or: /bin/sh -c '…'"));
        }
    }

    /// Of two lines about the same thing the first counts, as in keepalived.
    pub(super) fn dedupe(&mut self, tracks: &mut Tracks) {
        for list in [
            &mut tracks.interfaces,
            &mut tracks.scripts,
            &mut tracks.processes,
            &mut tracks.files,
        ] {
            let mut seen = HashSet::new();
            list.retain(|t| {
                let first = seen.insert(t.name.clone());
                if !first {
                    let message = format!(
                        "`{}` is tracked already: this line is ignored, as in keepalived",
                        t.name
                    );
                    self.warn(&t.place, message);
                }
                first
            });
        }
    }

    /// What is tracked must stand above: keepalived looks for it when it reads the line. `None`: an interface.
    fn tracks(&mut self, stmt: &Stmt, thing: Option<Kind>, list: &mut Vec<Track>) {
        for line in stmt.children() {
            let name = line.keyword();
            let known = |kind: &Kind| self.named.contains_key(&(*kind, name.to_owned()));
            if let Some(kind) = thing.filter(|kind| !known(kind)) {
                let kind = kind.keyword();
                let message = format!("there is no {kind} `{name}` above: the line is ignored, as in keepalived");
                self.warn(&line.place, message);
                continue;
            }
            let weight = match line.args() {
                [] => None,
                [word, rest @ ..] if word.text == "weight" && !rest.is_empty() => self.weight(rest, 254),
                [word, ..] => {
                    let message = format!(
                        "`{}` after `{name}`: the line is ignored and nothing tracked, as in keepalived",
                        word.text
                    );
                    self.warn(&word.place, message);
                    continue;
                }
            };
            list.push(Track {
                name: name.to_owned(),
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

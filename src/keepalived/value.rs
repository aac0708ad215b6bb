//! What follows a keyword, checked as the language table says.

use std::net::IpAddr;
use std::time::Duration;

use super::builder::Builder;
use super::diag::Diagnostic;
use super::table::{self, Args, Does, In, Row};
use super::tree::{Stmt, Word};

/// Unknown words that get a "did you mean".
const MAX_GUESSES: usize = 100;

/// The value of a keyword after the table's check.
pub(super) enum Value<'s> {
    Flag(bool),
    Int(i64),
    Secs(Duration),
    Addr(IpAddr),
    Words(&'s [Word]),
}

impl Builder<'_> {
    /// Looks a statement up and checks what follows it. `None`: it has been reported, or means nothing.
    pub(super) fn value<'s>(&mut self, place: In, stmt: &'s Stmt) -> Option<Value<'s>> {
        let name = stmt.keyword();
        let Some(row) = table::lookup(place, name) else {
            self.unknown(place, stmt);
            return None;
        };
        if !self.is_obeyed(row, stmt) {
            return None;
        }
        let most = self.arguments(row, stmt)?;
        let args = stmt.args();
        let args = &args[..args.len().min(most)];
        self.converted(row, name, args)
    }

    /// Whether the agent does something with a statement; says where it does not, or not all that keepalived does.
    fn is_obeyed(&mut self, row: &Row, stmt: &Stmt) -> bool {
        let name = stmt.keyword();
        match row.does {
            Does::Obeys => true,
            Does::Reads => {
                let message = format!("`{name}` is not supported by the agent yet and has no effect there");
                self.warn(&stmt.place, message);
                true
            }
            Does::Ignores => {
                self.warn(&stmt.place, format!("`{name}` has no effect in the agent"));
                false
            }
            Does::Skips => {
                self.skipped.push((stmt.place.clone(), name.to_owned()));
                false
            }
            Does::Lacks => {
                let d = Diagnostic::warning(
                    &stmt.place,
                    format!("`{name}` is not supported by the agent and has no effect there"),
                );
                self.out.push(d);
                false
            }
        }
    }

    /// How many arguments count. `None`: there are too few, or the body is missing or too much.
    fn arguments(&mut self, row: &Row, stmt: &Stmt) -> Option<usize> {
        let name = stmt.keyword();
        let args = stmt.args();
        let wants_body = matches!(row.args, Args::Body(_) | Args::Named(_) | Args::Lines);
        if wants_body && stmt.body.is_none() {
            self.error(&stmt.place, format!("`{name}` needs a `{{ }}` body"));
            return None;
        }
        if !wants_body && stmt.body.is_some() {
            self.error(&stmt.place, format!("`{name}` takes no `{{ }}` body"));
            return None;
        }
        let (least, most) = match row.args {
            Args::Flag | Args::Body(_) => (0, 0),
            // Old files write a name after some of these; keepalived does not mind.
            Args::Lines | Args::Any => (0, usize::MAX),
            Args::Bool => (0, 1),
            Args::Int(..) | Args::Secs(..) | Args::Text | Args::Addr | Args::Named(_) => (1, 1),
            Args::Words(least, most) => (least, most),
            Args::Command => (1, 3),
        };
        if args.len() < least {
            self.error(&stmt.place, format!("`{name}` needs a value"));
            return None;
        }
        if let (Args::Flag, Some(extra)) = (row.args, args.first()) {
            let message = format!(
                "`{name}` takes no value: with `{}` it is on too, as in keepalived",
                extra.text
            );
            self.out
                .push(Diagnostic::warning(&extra.place, message).hint("to switch it off, remove the line"));
        } else if let Some(extra) = args.get(most) {
            let mut d = Diagnostic::warning(
                &extra.place,
                format!("`{}` after `{name}` is ignored", shown(name, &extra.text)),
            );
            if row.args == Args::Command {
                d = d.hint("quote a command that has arguments");
            }
            self.out.push(d);
        }
        Some(most)
    }

    /// The arguments as what they mean.
    fn converted<'s>(&mut self, row: &Row, name: &str, args: &'s [Word]) -> Option<Value<'s>> {
        let first = args.first();
        Some(match row.args {
            Args::Flag => Value::Flag(true),
            Args::Bool => match first.map(|w| w.text.as_str()) {
                None | Some("on" | "true" | "yes") => Value::Flag(true),
                Some("off" | "false" | "no") => Value::Flag(false),
                Some(other) => {
                    let place = &first?.place;
                    self.error(
                        place,
                        format!("`{name}` is on, off, true, false, yes or no, not `{other}`"),
                    );
                    return None;
                }
            },
            Args::Int(min, max) => {
                let word = first?;
                match word.text.parse::<i64>() {
                    Ok(n) if (min..=max).contains(&n) => Value::Int(n),
                    _ => {
                        self.error(
                            &word.place,
                            format!("`{name}` is a whole number from {min} to {max}, not `{}`", word.text),
                        );
                        return None;
                    }
                }
            }
            Args::Secs(min, max) => {
                let word = first?;
                match seconds(&word.text) {
                    Some(s) if s >= min && s <= max => Value::Secs(Duration::from_micros((s * 1e6).round() as u64)),
                    _ => {
                        self.error(
                            &word.place,
                            format!("`{name}` is seconds from {min} to {max}, not `{}`", word.text),
                        );
                        return None;
                    }
                }
            }
            Args::Addr => {
                let word = first?;
                match word.text.parse::<IpAddr>() {
                    Ok(ip) => Value::Addr(ip),
                    Err(_) => {
                        self.error(&word.place, format!("`{}` is not an address", word.text));
                        return None;
                    }
                }
            }
            Args::Text | Args::Words(..) | Args::Command | Args::Lines | Args::Any | Args::Body(_) | Args::Named(_) => {
                Value::Words(args)
            }
        })
    }

    fn unknown(&mut self, place: In, stmt: &Stmt) {
        let name = stmt.keyword();
        if name.is_empty() {
            return;
        }
        let inside = table::place_name(place);
        let home = table::places(name);
        if home & table::ROOT != 0 && stmt.body.is_some() {
            let d = Diagnostic::error(&stmt.place, format!("`{name}` inside {inside}"));
            self.out.push(d.hint("a `}` is missing above"));
            return;
        }
        let d = if home != 0 {
            Diagnostic::warning(
                &stmt.place,
                format!("`{name}` does not belong in {inside} and is ignored"),
            )
            .hint(format!("it belongs in {}", table::place_name(home)))
        } else {
            let d = Diagnostic::warning(&stmt.place, format!("unknown keyword `{name}` in {inside} is ignored"));
            // Comparing with the whole table takes a while; with more of them the first ones are enough.
            self.guesses += 1;
            let similar = (self.guesses <= MAX_GUESSES).then(|| table::similar(place, name));
            match similar.flatten() {
                Some(similar) => d.hint(format!("did you mean `{similar}`?")),
                None => d,
            }
        };
        self.out.push(d);
    }
}

/// Not negative, decimal.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse::<f64>().ok().filter(|s| plain && s.is_finite())
}

/// A word for a message: never a password.
fn shown<'w>(keyword: &str, word: &'w str) -> &'w str {
    if matches!(keyword, "auth_pass" | "key") {
        "***"
    } else {
        word
    }
}

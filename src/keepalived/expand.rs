//! From text to logical lines: comments, continuation, `@` conditions, `$` definitions, `~SEQ`/`~LST`, includes.
//!
//! As keepalived.conf(5), "ADVANCED CONFIGURATION". Substitution happens at use, not at definition.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::diag::{Diagnostic, Place, Severity};
use super::sequences::rounds;
use super::source::{At, Ch, Line, Options, Unread, is_name};

/// Definitions inside definitions deeper than this are taken for a loop.
const MAX_DEPTH: u32 = 48;
/// Includes inside includes.
const MAX_INCLUDE_DEPTH: usize = 16;
/// Characters that expansion may produce in total: room for thousands of instances. A fuzzer gets on better with less.
const BUDGET: usize = if cfg!(fuzzing) { 20_000 } else { 8_000_000 };
/// What a line costs beside its characters.
const LINE_COST: usize = 32;
/// Characters of a reference between its braces: `$` after `$` without an end must not cost the square of a line.
const MAX_NAME: usize = 256;
/// Characters of one line.
const MAX_LINE: usize = 262_144;

pub(super) fn expand(text: &str, options: &Options<'_>, out: &mut Vec<Diagnostic>) -> Vec<Line> {
    let mut expander = Expander {
        options,
        out,
        lines: Vec::new(),
        definitions: HashMap::new(),
        budget: BUDGET,
        endless: false,
        files: 0,
        reading: Vec::new(),
    };
    expander.file(text, Arc::from(options.path));
    expander.lines
}

struct Expander<'a, 'd> {
    options: &'a Options<'a>,
    out: &'d mut Vec<Diagnostic>,
    lines: Vec<Line>,
    definitions: HashMap<String, Vec<char>>,
    budget: usize,
    /// The budget is gone, and that has been said.
    endless: bool,
    files: u32,
    /// Files that are being read, the main one first.
    reading: Vec<Arc<str>>,
}

/// What expansion ran out of.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// Definitions inside definitions.
    Depth,
    /// Characters of a line.
    Line,
    /// Characters of the whole.
    Whole,
}

impl Limit {
    fn message(self) -> String {
        match self {
            Limit::Depth => format!("definitions are nested deeper than {MAX_DEPTH}"),
            Limit::Line => format!("a line is longer than {MAX_LINE} characters once its definitions are replaced"),
            Limit::Whole => {
                format!("the configuration is longer than {BUDGET} characters once everything is replaced and included")
            }
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Limit::Depth => "does a definition contain itself?",
            Limit::Line | Limit::Whole => "that is the most that is read; what comes after is left out",
        }
    }
}

impl Expander<'_, '_> {
    fn file(&mut self, text: &str, file: Arc<str>) {
        let file_index = self.files;
        self.files += 1;
        self.reading.push(file.clone());
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut pending: Option<Line> = None;
        let mut definition = false;
        for (number, raw) in text.lines().enumerate() {
            let number = number as u32 + 1;
            let at = |column| At { line: number, column };
            let chars: Vec<Ch> = raw.chars().zip((1..).map(at)).collect();
            let mut line = Line {
                chars,
                file: file.clone(),
                file_index,
            };
            self.strip_comment(&mut line);
            trim(&mut line.chars);
            if line.chars.is_empty() {
                continue;
            }
            let continued = ends_with_backslash(&line.chars);
            if continued {
                line.chars.pop();
                trim(&mut line.chars);
            }
            match &mut pending {
                None => {
                    definition = definition_name(&line.chars).is_some_and(|(_, rest)| rest == line.chars.len());
                    pending = Some(line);
                }
                Some(first) => {
                    first.chars.push((if definition { '\n' } else { ' ' }, at(1)));
                    first.chars.append(&mut line.chars);
                }
            }
            if !continued && let Some(line) = pending.take() {
                self.line(line, 0);
            }
        }
        if let Some(line) = pending {
            self.line(line, 0);
        }
        self.reading.pop();
    }

    /// Cuts at `!` or `#` outside quotes.
    fn strip_comment(&mut self, line: &mut Line) {
        let mut quote = None;
        let mut i = 0;
        while i < line.chars.len() {
            let c = line.chars[i].0;
            match (quote, c) {
                (_, '\\') => i += 1,
                (None, '"' | '\'') => quote = Some(c),
                (Some(q), _) if q == c => quote = None,
                (None, '!' | '#') => {
                    let inside_word =
                        i > 0 && !line.chars[i - 1].0.is_whitespace() && !"{}".contains(line.chars[i - 1].0);
                    if inside_word {
                        let place = line.place(line.chars[i].1);
                        let message = format!("`{c}` starts a comment here, in the middle of a word");
                        self.out.push(
                            Diagnostic::warning(&place, message).hint("quote the word if the character belongs to it"),
                        );
                    }
                    line.chars.truncate(i);
                    return;
                }
                _ => {}
            }
            i += 1;
        }
    }

    fn line(&mut self, mut line: Line, depth: u32) {
        trim(&mut line.chars);
        let Some(&(first, at)) = line.chars.first() else {
            return;
        };
        let place = line.place(at);
        if depth > MAX_DEPTH {
            return self.give_up(Limit::Depth, &place);
        }
        if line.chars.len() > MAX_LINE {
            return self.give_up(Limit::Line, &place);
        }
        if !self.spend(line.chars.len() + LINE_COST, &place) {
            return;
        }
        if first == '@' {
            if let Some(rest) = self.condition(&line) {
                self.line(line.with(rest), depth + 1);
            }
            return;
        }
        if let Some((name, start)) = definition_name(&line.chars) {
            let value: Vec<char> = line.chars[start..].iter().map(|c| c.0).collect();
            let value = value.strip_prefix(&['\n']).map(<[char]>::to_vec).unwrap_or(value);
            self.definitions.insert(name, value);
            return;
        }
        if first == '~' && self.repeat(&line, depth) {
            return;
        }
        if let Some(chars) = self.substitute(&line) {
            for part in chars.split(|c| c.0 == '\n') {
                self.line(line.with(part.to_vec()), depth + 1);
            }
            return;
        }
        let word: String = line
            .chars
            .iter()
            .map(|c| c.0)
            .take_while(|c| !c.is_whitespace())
            .collect();
        if matches!(
            word.as_str(),
            "include" | "includer" | "includem" | "includew" | "includeb" | "includea"
        ) {
            self.include(&word, &line);
        } else if word == "include_check" {
            // Chooses how strict later includes are; ours always report.
        } else {
            self.lines.push(line);
        }
    }

    /// Takes from what expansion may still cost; `false`: there is not so much, which is said once.
    fn spend(&mut self, cost: usize, place: &Place) -> bool {
        if let Some(left) = self.budget.checked_sub(cost) {
            self.budget = left;
            return true;
        }
        self.give_up(Limit::Whole, place);
        false
    }

    /// Nothing more is read.
    fn give_up(&mut self, limit: Limit, place: &Place) {
        self.budget = 0;
        if !std::mem::replace(&mut self.endless, true) {
            self.out
                .push(Diagnostic::error(place, limit.message()).hint(limit.hint()));
        }
    }

    /// What is left of a line that starts with `@id` or `@^id`, if it applies here.
    fn condition(&self, line: &Line) -> Option<Vec<Ch>> {
        let end = line
            .chars
            .iter()
            .position(|c| c.0.is_whitespace())
            .unwrap_or(line.chars.len());
        let word: String = line.chars[1..end].iter().map(|c| c.0).collect();
        let applies = match word.strip_prefix('^') {
            Some(id) => id != self.options.config_id,
            None => word == self.options.config_id,
        };
        applies.then(|| line.chars[end..].to_vec())
    }

    /// The line with every known `$NAME` and `${NAME}` replaced once; `None` if there is none.
    fn substitute(&self, line: &Line) -> Option<Vec<Ch>> {
        let chars = &line.chars;
        let mut result = Vec::with_capacity(chars.len());
        let (mut changed, mut i) = (false, 0);
        while i < chars.len() {
            if chars[i].0 == '$'
                && let Some((value, next)) = self.reference(line, i)
                && result.len() + value.len() <= 2 * MAX_LINE
            {
                result.extend(value.iter().map(|c| (*c, chars[i].1)));
                (changed, i) = (true, next);
            } else {
                result.push(chars[i]);
                i += 1;
            }
        }
        changed.then_some(result)
    }

    /// Value of the reference that starts at the `$` at `i`, and the index after it.
    fn reference(&self, line: &Line, i: usize) -> Option<(Cow<'_, [char]>, usize)> {
        let chars = &line.chars;
        if chars.get(i + 1)?.0 == '{' {
            let longest = chars.len().min(i + 2 + MAX_NAME);
            let end = (i + 2..longest).find(|k| chars[*k].0 == '}')?;
            let inner: String = chars[i + 2..end].iter().map(|c| c.0).collect();
            let value = match self.definitions.get(&inner) {
                Some(value) => Cow::Borrowed(value.as_slice()),
                None => Cow::Owned(self.builtin(&inner, line)?),
            };
            return Some((value, end + 1));
        }
        let longest = chars.len().min(i + 1 + MAX_NAME);
        let end = (i + 1..longest).find(|k| !is_name(chars[*k].0)).unwrap_or(longest);
        // Without braces the name must end the word.
        if chars.get(end).is_some_and(|c| !c.0.is_whitespace()) {
            return None;
        }
        let name: String = chars[i + 1..end].iter().map(|c| c.0).collect();
        Some((Cow::Borrowed(self.definitions.get(&name)?), end))
    }

    fn builtin(&self, inner: &str, line: &Line) -> Option<Vec<char>> {
        let mut words = inner.split_whitespace();
        let text = match words.next()? {
            "_PWD" => match Path::new(&*line.file).parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir.to_string_lossy().into_owned(),
                _ => ".".to_owned(),
            },
            "_INSTANCE" => self.options.instance.to_owned(),
            // Comments are gone before anything is replaced, so these stay.
            "_HASH" => "#".to_owned(),
            "_BANG" => "!".to_owned(),
            "_ENV" => self.options.resolver.env(words.next()?)?,
            "_RANDOM" => {
                let min = words.next().map_or(Some(0), |w| w.parse().ok())?;
                let max = words.next().map_or(Some(32767), |w| w.parse().ok())?;
                if max < min {
                    return None;
                }
                self.options.resolver.random(min, max).clamp(min, max).to_string()
            }
            _ => return None,
        };
        Some(text.chars().collect())
    }

    /// `~SEQ(…)`, `~SEQx(…)`, `~LST(…)` at the start of a line: the rest once for each value.
    fn repeat(&mut self, line: &Line, depth: u32) -> bool {
        let text: String = line.chars.iter().map(|c| c.0).collect();
        let Some(open) = text.find('(') else { return false };
        let kind = &text[..open];
        if !matches!(kind, "~SEQ" | "~SEQx" | "~LST") {
            return false;
        }
        let place = line.place(line.chars[0].1);
        let Some(close) = text.find(')') else {
            self.out
                .push(Diagnostic::error(&place, format!("`{kind}(` has no `)`")));
            return true;
        };
        let rest_at = text[..=close].chars().count();
        let Some(rounds) = rounds(kind, &text[open + 1..close]) else {
            let usage = if kind == "~LST" {
                "~LST(var, value, …)"
            } else {
                "~SEQ(var, start, step, end)"
            };
            self.out
                .push(Diagnostic::error(&place, format!("cannot read the arguments of `{kind}`")).hint(usage));
            return true;
        };
        for round in rounds {
            if !self.spend(LINE_COST, &place) {
                break;
            }
            for (name, value) in round {
                self.definitions.insert(name, value.chars().collect());
            }
            self.line(line.with(line.chars[rest_at..].to_vec()), depth + 1);
        }
        true
    }

    fn include(&mut self, word: &str, line: &Line) {
        let place = line.place(line.chars[0].1);
        let pattern: String = line.chars.iter().map(|c| c.0).skip(word.len()).collect();
        let pattern = pattern.trim().trim_matches('"').to_owned();
        if pattern.is_empty() {
            self.out
                .push(Diagnostic::error(&place, format!("`{word}` names no file")));
            return;
        }
        if self.endless {
            return;
        }
        let files = self.options.resolver.include(&pattern, Path::new(&*line.file));
        // `includer`, `includem` and `includea` insist; the others let a missing file pass.
        let strict = matches!(word, "includer" | "includem" | "includea");
        let severity = if strict { Severity::Error } else { Severity::Warning };
        if files.is_empty() {
            let message = format!("no file matches `{pattern}`");
            self.out.push(Diagnostic::new(severity, &place, message));
        }
        for file in files {
            // Paid for although its lines are paid for again: a file of comments alone has none.
            let cost = LINE_COST + file.content.as_ref().map_or(0, String::len);
            if !self.spend(cost, &place) {
                return;
            }
            let path: Arc<str> = Arc::from(file.path.as_str());
            let (severity, message, hint) = match file.content {
                Ok(_) if self.reading.contains(&path) => {
                    let chain = if self.reading.last() == Some(&path) {
                        ""
                    } else {
                        " by way of others"
                    };
                    (Severity::Error, format!("{path} includes itself{chain}"), "")
                }
                Ok(_) if self.reading.len() > MAX_INCLUDE_DEPTH => {
                    let message = format!("includes are nested deeper than {MAX_INCLUDE_DEPTH}");
                    (
                        Severity::Error,
                        message,
                        "that is the limit: include the file from further up",
                    )
                }
                Ok(text) => {
                    self.file(&text, path);
                    continue;
                }
                Err(Unread::Skipped(what)) => (
                    severity,
                    format!("{path} is {what}: it is skipped, as in keepalived"),
                    "",
                ),
                Err(Unread::Failed(error)) => (Severity::Error, format!("cannot read {path}: {error}"), ""),
            };
            let d = Diagnostic::new(severity, &place, message);
            self.out.push(if hint.is_empty() { d } else { d.hint(hint) });
        }
    }
}

fn trim(chars: &mut Vec<Ch>) {
    while chars.last().is_some_and(|c| c.0.is_whitespace()) {
        chars.pop();
    }
    let start = chars.iter().position(|c| !c.0.is_whitespace()).unwrap_or(0);
    chars.drain(..start);
}

/// An odd number of them: an even number is escaped backslashes.
fn ends_with_backslash(chars: &[Ch]) -> bool {
    chars.iter().rev().take_while(|c| c.0 == '\\').count() % 2 == 1
}

/// Name of the definition that the line is, and where its value starts.
fn definition_name(chars: &[Ch]) -> Option<(String, usize)> {
    if chars.first()?.0 != '$' || chars.get(1)?.0.is_ascii_digit() {
        return None;
    }
    let end = (1..chars.len()).find(|k| !is_name(chars[*k].0))?;
    (end > 1 && chars[end].0 == '=').then(|| (chars[1..end].iter().map(|c| c.0).collect(), end + 1))
}

//! Edits of files that others write too. Each is idempotent: applying it twice is applying it once.

use serde::{Deserialize, Serialize};

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// A `KEY=value` line, starting at column one (`ifcfg-*`, `/etc/selinux/config`, `/etc/sysconfig/*`).
    ///
    /// The first such line is rewritten in place and further ones are dropped; a missing one is appended. `None`
    /// removes the key. The value is written as given: the caller quotes.
    Assign {
        /// Variable name.
        key: String,
        /// Text right of `=`.
        value: Option<String>,
    },
    /// A `key=value` line in a section of an ini file (NetworkManager keyfile, `.repo`).
    Ini {
        /// Without brackets; appended at the end of the file if missing.
        section: String,
        /// Key.
        key: String,
        /// `None` removes the key.
        value: Option<String>,
    },
    /// `/etc/hosts`: these names resolve to this address and to no other that this edit set names.
    Hosts {
        /// IPv4 or IPv6 address.
        address: String,
        /// Names to be on the address's first line.
        names: Vec<String>,
        /// Names to be taken off this address's lines: a former host name.
        remove: Vec<String>,
    },
    /// Lines between `# BEGIN hapair NAME` and `# END hapair NAME`, kept together; appended if missing.
    Block {
        /// Which block.
        name: String,
        /// Lines inside; empty removes the block.
        lines: Vec<String>,
    },
}

/// What the file is after the edits. Lines that no edit names come out byte for byte as they went in.
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut out = text.to_owned();
    for edit in edits {
        out = match edit {
            Edit::Assign { key, value } => assign(&out, key, value.as_deref()),
            Edit::Ini { section, key, value } => ini(&out, section, key, value.as_deref()),
            Edit::Hosts { address, names, remove } => {
                let foreign = foreign_names(edits, address);
                hosts(&out, address, names, remove, &foreign)
            }
            Edit::Block { name, lines } => block(&out, name, lines),
        };
    }
    out
}

/// Lines with their ends.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Appends whole lines, closing an unterminated last line first.
fn append(out: &mut String, tail: &str) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(tail);
}

fn assign(text: &str, key: &str, value: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut written = false;
    for line in lines(text) {
        let body = line.trim_end_matches(['\n', '\r']);
        let ours = body.strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
        match (ours, value) {
            (false, _) => out.push_str(line),
            (true, None) => {}
            (true, Some(_)) if written => {}
            (true, Some(value)) => {
                written = true;
                if &body[key.len() + 1..] == value {
                    out.push_str(line);
                } else {
                    out.push_str(&format!("{key}={value}{}", &line[body.len()..]));
                }
            }
        }
    }
    if let (false, Some(value)) = (written, value) {
        append(&mut out, &format!("{key}={value}\n"));
    }
    out
}

/// Name of a section header line.
fn header(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

/// Key and value of an assignment line; comments are none.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let body = line.trim();
    if body.starts_with(['#', ';', '[']) {
        return None;
    }
    let (key, value) = body.split_once('=')?;
    let key = key.trim();
    let plain = !key.is_empty() && !key.contains(char::is_whitespace) && !key.contains(['/', ':', '?']);
    plain.then(|| (key, value.trim()))
}

fn ini(text: &str, section: &str, key: &str, value: Option<&str>) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut inside = false;
    let mut written = false;
    // Indented lines after a key continue its value (yum's `baseurl`): they go when the value goes.
    let mut dropping = false;
    for line in lines(text) {
        if let Some(name) = header(line) {
            inside = name == section;
            dropping = false;
        } else if inside {
            let continues = line.starts_with([' ', '\t']) && !line.trim().is_empty();
            match assignment(line) {
                Some((found, old)) if found == key => {
                    dropping = true;
                    match value {
                        Some(new) if !written => {
                            written = true;
                            dropping = old != new;
                            if dropping {
                                let end = &line[line.trim_end_matches(['\n', '\r']).len()..];
                                out.push(format!("{key}={new}{end}"));
                                continue;
                            }
                        }
                        _ => continue,
                    }
                }
                None if dropping && continues => continue,
                _ => dropping = false,
            }
        }
        out.push(line.to_owned());
    }
    let (false, Some(value)) = (written, value) else {
        return out.concat();
    };
    let line = format!("{key}={value}\n");
    let Some(start) = out.iter().position(|l| header(l) == Some(section)) else {
        let mut joined = out.concat();
        let gap = if joined.trim().is_empty() { "" } else { "\n" };
        append(&mut joined, &format!("{gap}[{section}]\n{line}"));
        return joined;
    };
    let end = out[start + 1..]
        .iter()
        .position(|l| header(l).is_some())
        .map_or(out.len(), |n| start + 1 + n);
    let last = (start..end).rev().find(|i| !out[*i].trim().is_empty()).unwrap_or(start);
    if !out[last].ends_with('\n') {
        out[last].push('\n');
    }
    out.insert(last + 1, line);
    out.concat()
}

/// Names that the edit set gives to other addresses only: they must not stay on this one's lines.
fn foreign_names<'a>(edits: &'a [Edit], address: &str) -> Vec<&'a str> {
    let of = |here: bool| {
        edits.iter().filter_map(move |e| match e {
            Edit::Hosts { address: a, names, .. } if (a == address) == here => Some(names),
            _ => None,
        })
    };
    let own: Vec<&String> = of(true).flatten().collect();
    of(false)
        .flatten()
        .filter(|n| !own.contains(n))
        .map(String::as_str)
        .collect()
}

fn hosts(text: &str, address: &str, names: &[String], remove: &[String], foreign: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut first = true;
    for line in lines(text) {
        let body = line.trim_end_matches(['\n', '\r']);
        let end = &line[body.len()..];
        let (data, comment) = body.split_at(body.find('#').unwrap_or(body.len()));
        if data.split_whitespace().next() != Some(address) {
            out.push_str(line);
            continue;
        }
        let goes = |word: &str| {
            let wanted = names.iter().any(|n| n == word);
            !wanted && (remove.iter().any(|r| r == word) || foreign.contains(&word))
        };
        let mut kept = String::with_capacity(data.len());
        let mut count = 0;
        for word in words_with_gap(data.trim_end()) {
            let name = word.trim_start();
            if (name != address || count > 0) && goes(name) {
                continue;
            }
            count += 1;
            kept.push_str(word);
        }
        if first {
            first = false;
            for name in names {
                if !kept.split_whitespace().skip(1).any(|n| n == name) {
                    kept.push(' ');
                    kept.push_str(name);
                    count += 1;
                }
            }
        }
        // An address without a name would be a broken line; a comment of its own is kept.
        if count > 1 {
            out.push_str(&kept);
            out.push_str(&data[data.trim_end().len()..]);
            out.push_str(comment);
            out.push_str(end);
        } else if !comment.is_empty() {
            out.push_str(comment);
            out.push_str(end);
        }
    }
    if first && !names.is_empty() {
        append(&mut out, &format!("{address} {}\n", names.join(" ")));
    }
    out
}

/// Words, each with the white space before it.
fn words_with_gap(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(|c: char| !c.is_whitespace())?;
        let end = rest[start..]
            .find(char::is_whitespace)
            .map_or(rest.len(), |n| start + n);
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    })
}

fn block(text: &str, name: &str, content: &[String]) -> String {
    let begin = format!("# BEGIN hapair {name}");
    let finish = format!("# END hapair {name}");
    let mut fresh = String::new();
    if !content.is_empty() {
        fresh.push_str(&begin);
        fresh.push('\n');
        for line in content {
            fresh.push_str(line);
            fresh.push('\n');
        }
        fresh.push_str(&finish);
        fresh.push('\n');
    }
    let all = lines(text);
    let mut out = String::with_capacity(text.len() + fresh.len());
    let mut placed = false;
    let mut at = 0;
    while at < all.len() {
        if all[at].trim_end() != begin {
            out.push_str(all[at]);
            at += 1;
            continue;
        }
        // A block whose end is missing loses only its first line: what follows may be somebody else's.
        let next_begin = all[at + 1..]
            .iter()
            .position(|l| l.trim_end() == begin)
            .map_or(all.len(), |n| at + 1 + n);
        let last = (at + 1..next_begin)
            .find(|i| all[*i].trim_end() == finish)
            .unwrap_or(at);
        if !placed {
            placed = true;
            out.push_str(&fresh);
        }
        at = last + 1;
    }
    if !placed && !fresh.is_empty() {
        append(&mut out, &fresh);
    }
    out
}

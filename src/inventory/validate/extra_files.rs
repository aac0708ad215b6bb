//! `nginx.extra_files`: files of the operator's own, read in here so that a plan needs nothing more from the disk.

use std::path::{Path, PathBuf};

use crate::inventory::context::{At, Context, quote};
use crate::inventory::grammar::{CONF_NAME, LOCAL_PATH};
use crate::inventory::model::ExtraFile;
use crate::inventory::node::{Value, YamlNode};
use crate::inventory::secret::expand_home;
use crate::inventory::table::Table;

/// Most files that patterns may match together, and most bytes of one: beyond that the pattern is a mistake.
const FILES_MAX: usize = 200;
const BYTES_MAX: u64 = 1024 * 1024;

/// A path or a pattern, or a list of them.
pub(super) fn read(nginx: &Table<'_>) -> Vec<ExtraFile> {
    let context = nginx.context;
    let Some(node) = nginx.get("extra_files") else {
        return Vec::new();
    };
    let one;
    let nodes: &[YamlNode] = match &node.value {
        Value::List(items) => items,
        _ => {
            one = [node.clone()];
            &one
        }
    };
    let mut files: Vec<ExtraFile> = Vec::new();
    for node in nodes {
        let Some(pattern) = context.word(node, "extra_files", &LOCAL_PATH) else {
            continue;
        };
        for path in matches(context, &pattern) {
            if let Some(file) = load(context, &pattern, &path) {
                if files.iter().any(|f| f.name == file.name) {
                    let message = format!("two extra files are called {}", file.name);
                    context.error_hint(
                        pattern.span,
                        message,
                        "both would be written to the same directory on the \
                        host",
                    );
                } else if files.len() >= FILES_MAX {
                    context.error(pattern.span, format!("more than {FILES_MAX} extra files"));
                    return files;
                } else {
                    files.push(file);
                }
            }
        }
    }
    files
}

/// The files that a pattern names, sorted; `*` and `?` count in the last part of the path only.
fn matches(context: &Context, pattern: &At<String>) -> Vec<PathBuf> {
    let full = context.dir.join(expand_home(Path::new(&pattern.value)));
    let Some(name) = full.file_name().and_then(|n| n.to_str()) else {
        context.error_hint(
            pattern.span,
            format!("{} names no file", quote(&pattern.value)),
            "as in ./nginx/*.conf",
        );
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return vec![full];
    }
    let dir = full.parent().map(Path::to_owned).unwrap_or_default();
    let dir = if dir.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        dir
    };
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) => {
            let message = format!("cannot read {}: {error}", dir.display());
            context.error_hint(pattern.span, message, "the path is relative to the inventory");
            return Vec::new();
        }
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|e| {
            e.file_name()
                .to_str()
                .is_some_and(|n| !n.starts_with('.') && is_match(name, n))
        })
        .map(|e| e.path())
        .filter(|p| p.is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        let message = format!("{} matches no file", quote(&pattern.value));
        context.error_hint(pattern.span, message, "the path is relative to the inventory");
    }
    found
}

fn load(context: &Context, pattern: &At<String>, path: &Path) -> Option<ExtraFile> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if let Err(hint) = CONF_NAME.check(name) {
        context.error_hint(pattern.span, format!("{} is not {}", quote(name), CONF_NAME.name), hint);
        return None;
    }
    let refuse = |why: String| {
        context.error(pattern.span, format!("cannot use {}: {why}", path.display()));
        None
    };
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => return refuse("it is not a file".into()),
        Ok(meta) if meta.len() > BYTES_MAX => return refuse(format!("it is larger than {BYTES_MAX} bytes")),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("no such file: {}", path.display());
            context.error_hint(pattern.span, message, "the path is relative to the inventory");
            return None;
        }
        Err(error) => return refuse(error.to_string()),
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(error.to_string()),
    };
    match String::from_utf8(bytes) {
        Ok(content) if content.contains('\0') => refuse("it holds a NUL byte".into()),
        Ok(content) => Some(ExtraFile {
            name: name.to_owned(),
            content,
        }),
        Err(_) => refuse("it is not UTF-8 text".into()),
    }
}

/// Shell-like: `*` any characters, `?` one.
fn is_match(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star did not fit: one character later.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::is_match;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.conf", "site.conf", true),
            ("*.conf", "site.conf.bak", false),
            ("a?c*", "abcde", true),
            ("a?c*", "ac", false),
            ("*a*b", "xaxaxb", true),
            ("*", "", true),
            ("?", "é", true),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }
}

//! Finding secrets in text that may not even be YAML, so that no error message shows one.
//!
//! Works on words, not on the parsed tree: a secret must stay hidden also where the text around it does not parse or
//! where its key is misspelt. When in doubt it hides too much.

use super::source::Span;

/// Spans of values whose key looks like that of a secret, and of passwords inside URLs.
pub(super) fn find(text: &str) -> Vec<Span> {
    let mut spans = url_passwords(text);
    let mut at = 0;
    while let Some(key) = next_key(text, at) {
        // Not past the value: with a quote too many, the next key may lie inside of what looks like this value.
        at = key.value;
        if is_secret_word(&text[key.start..key.end]) {
            let end = value_end(text, &key);
            if end > key.value {
                spans.push(Span::new(key.value, end));
            }
        }
    }
    spans.sort_unstable();
    spans
}

/// `pass`, `password`, `auth_pass`, `pass_phrase`, misspellings of them, and `key`; not nginx's `proxy_pass`.
pub(super) fn is_secret_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let close = |known: &str| super::suggest::nearest(&word, [known]).is_some();
    !word.starts_with("proxy_")
        && (["pass", "secret", "pwd", "token", "credential"]
            .iter()
            .any(|part| word.contains(part))
            || word == "pw"
            || word == "key"
            || close("auth_pass")
            || close("password"))
}

struct Key {
    start: usize,
    end: usize,
    /// First byte of what follows the colon and its blanks, on the same line.
    value: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The next `word:` or `"word":` at or after `from`.
fn next_key(text: &str, from: usize) -> Option<Key> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        let end = at;
        let mut colon = at;
        while colon < bytes.len() && matches!(bytes[colon], b'"' | b'\'' | b' ' | b'\t') {
            colon += 1;
        }
        if bytes.get(colon) == Some(&b':') {
            let mut value = colon + 1;
            while value < bytes.len() && matches!(bytes[value], b' ' | b'\t') {
                value += 1;
            }
            return Some(Key { start, end, value });
        }
    }
    None
}

/// Where the value of a secret's key ends.
fn value_end(text: &str, key: &Key) -> usize {
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |n| from + n);
    let rest = &text[key.value..line_end(key.value)];
    let rest = rest.trim_end();
    let inner = rest.strip_prefix('{').map(str::trim_start);
    if inner.is_some_and(|i| ["env:", "file:", "prompt:"].iter().any(|k| i.starts_with(k))) {
        return key.value;
    }
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let end = closing_quote(text, key.value, quote);
        let after = text[end..line_end(end)].trim_start();
        // Anything but an end after the closing quote: it was not the closing one.
        let whole = after.is_empty() || after.starts_with([',', '}', ']', '#']);
        return if whole { end } else { line_end(end) };
    }
    // Ends where the next key of a flow mapping starts; everything else on the line may be part of the secret.
    let plain = |from: usize| {
        let end = line_end(from);
        let mut cut = end;
        for (comma, _) in text[from..end].match_indices(',') {
            let after = from + comma + 1;
            if next_key(&text[..end], after)
                .is_some_and(|k| text[after..k.start].trim_matches([' ', '"', '\'']).is_empty())
            {
                cut = from + comma;
                break;
            }
        }
        cut
    };
    let end = plain(key.value);
    if end < line_end(key.value) {
        return end;
    }
    // A block scalar, a folded plain scalar or a nested mapping: every following line that is indented deeper.
    let line_start = text[..key.start].rfind('\n').map_or(0, |n| n + 1);
    let indent = key.start - line_start;
    let mut end = end;
    let mut next = end + 1;
    let mut first = true;
    while next < text.len() {
        let stop = line_end(next);
        let line = &text[next..stop];
        let body = line.trim_start();
        let deeper = line.len() - body.len() > indent;
        // A value that slipped to the left on the line after its key is hidden all the same.
        let slipped = first && rest.is_empty() && !starts_entry(text, next + line.len() - body.len());
        if !body.is_empty() && !deeper && !slipped {
            break;
        }
        let source = ["env:", "file:", "prompt:"].iter().any(|k| body.starts_with(k));
        if first && source && rest.is_empty() {
            return key.value;
        }
        first &= body.is_empty();
        if !body.is_empty() {
            end = stop;
        }
        next = stop + 1;
    }
    end
}

/// Whether a key or a list item starts here.
fn starts_entry(text: &str, at: usize) -> bool {
    let body = &text[at..];
    let line = body.lines().next().unwrap_or_default();
    body.starts_with(['-', '#', '"', '\'', '{', '['])
        || next_key(&text[..at + line.len()], at).is_some_and(|key| key.start == at)
}

/// The byte after the quote that closes the one at `open`; the end of the text when there is none.
fn closing_quote(text: &str, open: usize, quote: char) -> usize {
    let mut chars = text[open + 1..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
                continue;
            }
            return open + 1 + at + 1;
        }
    }
    text.len()
}

/// `//user:THIS@host`.
pub(super) fn url_passwords(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let end = text[start..]
            .find(['/', ' ', '\n', '"', '\''])
            .map_or(text.len(), |n| start + n);
        if let Some((user, _)) = text[start..end].rsplit_once('@')
            && let Some(colon) = user.find(':')
        {
            spans.push(Span::new(start + colon + 1, start + user.len()));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::find;

    fn hidden(text: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        for span in find(text) {
            if span.start >= at {
                out.push_str(&text[at..span.start]);
                out.push('*');
                at = span.end;
            }
        }
        out + &text[at..]
    }

    #[test]
    fn values_of_secret_keys_are_hidden() {
        for (text, shown) in [
            ("auth_pass: 1111", "auth_pass: *"),
            ("- {id: 1, key: 11}", "- {id: 1, key: *"),
            ("{key: \"11\", id: 1}", "{key: *, id: 1}"),
            ("a: {auth_pass: 11, b: 2}", "a: {auth_pass: *, b: 2}"),
            ("a: {b: 1, password: 11,22}", "a: {b: 1, password: *"),
            ("\"password\" : \"a\\\"b\" # c", "\"password\" : * # c"),
            ("password: 'it''s'\nuser: x", "password: *\nuser: x"),
            ("password: |\n  one\n\n  two\nuser: x", "password: *\nuser: x"),
            ("password:\n  one\n   two\nuser: x", "password:*\nuser: x"),
            ("- auth_pas: x\n  b: y", "- auth_pas: *\n  b: y"),
            ("password: \"never\nclosed", "password: *"),
            ("    password:\n  slipped\n  user: x", "    password:*\n  user: x"),
            ("url: http://u:pw@h/", "url: http://u:*@h/"),
        ] {
            assert_eq!(hidden(text), shown, "{text:?}");
        }
    }

    #[test]
    fn references_and_other_keys_stay_visible() {
        for text in [
            "password: {env: NAME}",
            "password:\n  file: x",
            "proxy_pass: app",
            "certificate_key: /etc/pki/x",
            "key: {env: NAME}",
            "name: edge",
            "password:\nb: c",
        ] {
            assert_eq!(hidden(text), text);
        }
    }
}

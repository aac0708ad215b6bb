//! Masks secrets in text that is about to be shown.

use super::secret::{MASK, Secret};

/// Replaces every known secret (as a whole word), whatever follows `auth_pass`, and the key behind `key ID` at the start of a
/// line (keepalived's `auth_hmac`) by [`MASK`].
///
/// A word here is a run of characters without white space, quotes or one of `;:,=()[]{}<>`: a short password such as
/// `1111` must not blacken a port number `11110`. The rule for `auth_pass` covers passwords that nobody told us
/// about, such as the one a hand-written file had before.
pub fn redact(text: &str, secrets: &[Secret]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = "";
    let mut line = Line::Start;
    for piece in pieces(text) {
        let is_word = !piece.starts_with(is_boundary);
        if is_word
            && (line == Line::Secret
                || previous.trim_start_matches(['+', '-']) == "auth_pass"
                || secrets.iter().any(|s| s.reveal() == piece))
        {
            out.push_str(MASK);
        } else {
            out.push_str(piece);
        }
        if is_word {
            previous = piece;
            line = line.after(piece);
        } else if piece.contains(['\n', '{', '}']) {
            previous = "";
            line = Line::Start;
        }
    }
    // A secret with boundary characters inside is no single word; it is long enough to be looked for as it stands.
    for secret in secrets {
        let value = secret.reveal();
        if value.contains(is_boundary) && value.trim().len() >= 4 {
            out = out.replace(value, MASK);
        }
    }
    out
}

/// How far a line is on the way to the key of `key 1 hex:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// No word yet; a diff's sign is none.
    Start,
    /// `key`.
    Key,
    /// What is left of it is secret.
    Secret,
    /// Anything else.
    Other,
}

impl Line {
    fn after(self, word: &str) -> Line {
        match self {
            Line::Start if word == "+" || word == "-" => Line::Start,
            Line::Start if word.trim_start_matches(['+', '-']) == "key" => Line::Key,
            Line::Key if word.parse::<u8>().is_ok() => Line::Secret,
            Line::Secret => Line::Secret,
            _ => Line::Other,
        }
    }
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\'' | ';' | ':' | ',' | '=' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>'
        )
}

/// Cuts text into alternating words and runs of boundary characters; their concatenation is the text.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let in_boundary = is_boundary(first);
        let end = rest.find(|c| is_boundary(c) != in_boundary).unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_without_indentation_is_masked_in_a_diff() {
        assert_eq!(
            redact("-auth_pass oldone\n+auth_pass newone\n", &[]),
            format!("-auth_pass {MASK}\n+auth_pass {MASK}\n")
        );
    }

    #[test]
    fn a_key_that_nobody_told_us_about_is_masked() {
        for (text, shown) in [
            (
                "+        key 1 hex:00ff00ff\n mode x",
                "+        key 1 hex:00ff00ff\n mode x",
            ),
            ("-key 12 'a b'\nkey_2 1 x", "-key 12 'a b'\nkey_2 1 x"),
            (
                "auth_hmac { key 1 secret }\nactive_key 1\n",
                "auth_hmac { key 1 secret }\nactive_key 1\n",
            ),
        ] {
            let mut shown = shown.to_owned();
            for secret in ["hex", "00ff00ff", "'a b'", "secret"] {
                let masked = if secret == "'a b'" {
                    format!("'{MASK} {MASK}'")
                } else {
                    MASK.to_owned()
                };
                shown = shown.replace(secret, &masked);
            }
            assert_eq!(redact(text, &[]), shown);
        }
        let message = "line 3: key 1 has 12 bytes, and must have 32 to 64";
        assert_eq!(redact(message, &[]), message);
    }

    #[test]
    fn whole_words_only() {
        let secrets = [Secret::new("1111")];
        assert_eq!(
            redact("auth_pass 1111\nport 11110 id=1111;", &secrets),
            format!("auth_pass {MASK}\nport 11110 id={MASK};")
        );
    }

    #[test]
    fn unknown_auth_pass_is_masked() {
        assert_eq!(
            redact("-        auth_pass \"oldone\"", &[]),
            format!("-        auth_pass \"{MASK}\"")
        );
    }

    #[test]
    fn secrets_with_blanks_are_masked() {
        assert_eq!(
            redact("x correct horse y", &[Secret::new("correct horse")]),
            format!("x {MASK} y")
        );
    }
}

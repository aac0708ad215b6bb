//! Secrets: where they come from, and what they may hold.

use std::path::{Path, PathBuf};

use super::context::{At, Context};
use super::grammar::{LOCAL_PATH, PROMPT, VARIABLE};
use super::model::SecretSource;
use super::node::{Value, YamlNode};
use crate::state::{Error, Secret};

/// Longest `auth_pass` in bytes: VRRPv2's field (RFC 2338 §5.3.6); keepalived cuts the rest off.
pub const AUTH_PASS_MAX: usize = 8;

/// Longest secret read from anywhere, in bytes.
const SECRET_MAX: usize = 1024;

impl SecretSource {
    /// Gets the secret. `ask` is called for `{prompt: TEXT}` only, with the text; `None` from it means that nobody
    /// can be asked. A relative `{file: PATH}` starts at `base_dir`, the inventory's directory.
    ///
    /// # Errors
    ///
    /// When it cannot be had, is empty, longer than 1024 bytes, or holds a control character.
    pub fn resolve(&self, base_dir: &Path, ask: &mut dyn FnMut(&str) -> Option<Secret>) -> Result<Secret, Error> {
        let (secret, origin) = match self {
            SecretSource::Literal(secret) => (secret.clone(), "the secret in the inventory".to_owned()),
            SecretSource::Env(name) => {
                let value = std::env::var(name).map_err(|_| {
                    Error::new(format!("the environment variable {name} is not set"))
                        .hint(format!("export {name}, or write the secret as {{file: PATH}}"))
                })?;
                (Secret::new(value), format!("the secret in {name}"))
            }
            SecretSource::File(path) => {
                let path = base_dir.join(expand_home(path));
                let error = |cause| {
                    Error::new(format!("cannot read the secret in {}", path.display()))
                        .because(cause)
                        .hint("create the file, readable by you alone")
                };
                let mut text = std::fs::read_to_string(&path).map_err(error)?;
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                (Secret::new(text), format!("the secret in {}", path.display()))
            }
            SecretSource::Prompt(text) => {
                let secret = ask(text).ok_or_else(|| {
                    Error::new(format!("no answer to {text:?}"))
                        .hint("run it on a terminal, or use {env: NAME} or {file: PATH}")
                })?;
                (secret, "the secret".to_owned())
            }
        };
        check_any(secret.reveal())
            .map_err(|why| Error::new(format!("{origin} {why}")).hint("choose another secret"))?;
        Ok(secret)
    }
}

/// Whether a resolved `auth_pass` can go into keepalived.conf and a VRRPv2 packet: 1 to [`AUTH_PASS_MAX`] bytes of
/// letters, digits and `- _ . : , + = / % ^ * ?`. Every other character means something to keepalived's parser, or
/// would not reach the other side unharmed.
///
/// # Errors
///
/// What is wrong, as the end of a sentence about the password, without the password.
pub fn check_auth_pass(secret: &Secret) -> Result<(), String> {
    let text = secret.reveal();
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.len() > AUTH_PASS_MAX {
        return Err(format!(
            "is longer than {AUTH_PASS_MAX} bytes, and keepalived would cut it off"
        ));
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.:,+=/%^*?".contains(&b))
    {
        return Err("holds a character that keepalived.conf cannot carry".into());
    }
    Ok(())
}

/// Whether a resolved key of `auth_hmac` can go into keepalived.conf: `hex:` and 64 to 128 hexadecimal digits, or 32 to 64
/// letters, digits and `- _ . : , + = / % ^ * ?`.
///
/// # Errors
///
/// What is wrong, as the end of a sentence about the key, without the key.
pub fn check_hmac_key(secret: &Secret) -> Result<(), String> {
    let text = secret.reveal();
    if text.starts_with("file:") {
        return Err("names a file, and hapair writes the key itself".into());
    }
    let length = match text.strip_prefix("hex:") {
        Some(digits) if !digits.bytes().all(|b| b.is_ascii_hexdigit()) || digits.len() % 2 == 1 => {
            return Err("is not pairs of hexadecimal digits behind its hex:".into());
        }
        Some(digits) => digits.len() / 2,
        None => text.len(),
    };
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.:,+=/%^*?".contains(&b))
    {
        return Err("holds a character that keepalived.conf cannot carry".into());
    }
    if !(32..=64).contains(&length) {
        return Err(format!("has {length} bytes, and must have 32 to 64"));
    }
    Ok(())
}

/// What holds for every secret: sudo and sshd read one line.
fn check_any(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Err("is empty".into())
    } else if text.len() > SECRET_MAX {
        Err(format!("is longer than {SECRET_MAX} bytes"))
    } else if text.chars().any(char::is_control) {
        Err("holds a line break or another control character".into())
    } else {
        Ok(())
    }
}

/// `~/x` to a path under `$HOME`; as it is without that variable.
pub(super) fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) if !home.is_empty() => PathBuf::from(home).join(rest),
        _ => path.to_owned(),
    }
}

/// Reads a secret from the inventory. Its text goes into no message, and its place is hidden from snippets.
pub(super) fn read(context: &Context, node: &YamlNode, what: &str) -> Option<At<SecretSource>> {
    let sources = "write the secret in quotes, or {env: NAME}, {file: PATH} or {prompt: TEXT}";
    let at = |value| Some(At { value, span: node.span });
    match &node.value {
        Value::Scalar { text, .. } => {
            context.hide(node.span);
            if let Err(why) = check_any(text) {
                context.error_hint(node.span, format!("{what} {why}"), sources);
                return None;
            }
            at(SecretSource::Literal(Secret::new(text.as_str())))
        }
        Value::Map(entries) => {
            let [(key, value)] = entries.as_slice() else {
                entries.iter().for_each(|(_, value)| context.hide(value.span));
                context.error_hint(node.span, format!("{what} must name exactly one source"), sources);
                return None;
            };
            let (Value::Scalar { text: kind, .. }, Value::Scalar { text, .. }) = (&key.value, &value.value) else {
                context.hide(value.span);
                context.error_hint(key.span, format!("{what} must name one source"), sources);
                return None;
            };
            let (grammar, make): (_, fn(String) -> SecretSource) = match kind.as_str() {
                "env" => (&VARIABLE, SecretSource::Env),
                "file" => (&LOCAL_PATH, |path| SecretSource::File(path.into())),
                "prompt" => (&PROMPT, SecretSource::Prompt),
                _ => {
                    context.hide(value.span);
                    context.error_hint(
                        key.span,
                        format!("{what} must be a text, or come from env, file or prompt"),
                        sources,
                    );
                    return None;
                }
            };
            if let Err(hint) = grammar.check(text) {
                // Someone may have put the secret itself here.
                context.hide(value.span);
                context.error_hint(value.span, format!("{kind} of {what} is not {}", grammar.name), hint);
                return None;
            }
            at(make(text.clone()))
        }
        other => {
            let message = match other {
                Value::Null => format!("{what} has no value"),
                _ => format!("{what} must be a secret, not {}", other.kind()),
            };
            context.hide(node.span);
            context.error_hint(node.span, message, sources);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_pass_rules() {
        for good in ["1111", "a", "12345678", "a-b_c.d:"] {
            assert_eq!(check_auth_pass(&Secret::new(good)), Ok(()), "{good}");
        }
        for bad in [
            "",
            "123456789",
            "a b",
            "a\"b",
            "a!b",
            "a#b",
            "a{",
            "}",
            "a\nb",
            "a$b",
            "pässword",
            "~SEQ",
            "@x",
            "a;b",
        ] {
            let message = check_auth_pass(&Secret::new(bad)).expect_err(bad);
            assert!(bad.len() < 2 || !message.contains(bad), "{message}");
        }
    }

    #[test]
    fn hmac_key_rules() {
        let hex = |digits: usize| format!("hex:{}", "a7".repeat(digits / 2));
        for good in [hex(64), hex(128), "k".repeat(32), "k-_.:,+=/%^*?".repeat(4)] {
            assert_eq!(check_hmac_key(&Secret::new(good.as_str())), Ok(()), "{good}");
        }
        for bad in [
            hex(62),
            hex(130),
            format!("{}a", hex(64)),
            hex(64).replacen('a', "g", 1),
            "k".repeat(31),
            "k".repeat(65),
            format!("{}#", "k".repeat(40)),
            format!("{} k", "k".repeat(40)),
            format!("file:/etc/{}", "k".repeat(40)),
        ] {
            let message = check_hmac_key(&Secret::new(bad.as_str())).expect_err(&bad);
            assert!(!message.contains(&bad), "{message}");
        }
    }

    #[test]
    fn sources_are_resolved() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("pw"), "hunter2\n").expect("a file");
        std::fs::write(dir.path().join("two"), "a\nb\n").expect("a file");
        let mut nobody = |_: &str| None;
        let file = |name: &str| SecretSource::File(name.into());
        assert_eq!(
            file("pw").resolve(dir.path(), &mut nobody).expect("a secret").reveal(),
            "hunter2"
        );
        let refused = |source: SecretSource| {
            source
                .resolve(dir.path(), &mut |_| None)
                .expect_err("refused")
                .in_full()
        };
        assert!(
            refused(file("two")).ends_with("two holds a line break or another control character"),
            "{}",
            refused(file("two"))
        );
        assert!(refused(file("no")).ends_with("no: No such file or directory (os error 2)"));
        let env = SecretSource::Env("HAPAIR_TEST_NO_SUCH_VARIABLE".into());
        assert_eq!(
            refused(env),
            "the environment variable HAPAIR_TEST_NO_SUCH_VARIABLE is not set"
        );
        let prompt = SecretSource::Prompt("password?".into());
        assert_eq!(refused(prompt.clone()), "no answer to \"password?\"");
        let mut asked = String::new();
        let mut answer = |text: &str| {
            asked = text.to_owned();
            Some(Secret::new("x"))
        };
        assert_eq!(prompt.resolve(dir.path(), &mut answer).expect("a secret").reveal(), "x");
        assert_eq!(asked, "password?");
    }
}

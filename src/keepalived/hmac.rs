//! `auth_hmac` of an instance, by the rules of keepalived 2.4.3. Where keepalived would go on with less than is written (without a
//! key, without the whole block) this is an error: what should be signed must not go out unsigned.

use super::builder::Builder;
use super::diag::{Diagnostic, Place};
use super::model::{AuthHmac, HmacKey, HmacMode, Instance};
use super::table;
use super::tree::{Stmt, Word};
use super::value::Value;

/// Bytes of a key.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=64;
/// Window where none is written: three adverts, within these, in seconds.
const WINDOW: (u64, u64) = (5, 300);

/// What `auth_hmac` blocks say; several are one.
#[derive(Default)]
pub(super) struct HmacDraft {
    /// Of the last block.
    place: Place,
    keys: Vec<HmacKey>,
    /// A key that was refused, which has been reported.
    bad_key: bool,
    active: Option<(u8, Place)>,
    mode: Option<(HmacMode, Place)>,
    monotonic: bool,
    window: Option<u16>,
}

impl Builder<'_> {
    pub(super) fn auth_hmac(&mut self, stmt: &Stmt, draft: &mut Option<HmacDraft>) {
        let d = draft.get_or_insert_default();
        d.place = stmt.place.clone();
        for line in stmt.children() {
            match (line.keyword(), self.value(table::HMAC, line)) {
                ("key", Some(Value::Words([id, value]))) => self.key(id, value, d),
                ("key", None) => d.bad_key = true,
                ("active_key", Some(Value::Int(n))) => d.active = Some((n as u8, line.place.clone())),
                ("time_window", Some(Value::Int(n))) => d.window = Some(n as u16),
                ("anti_replay", Some(Value::Words([word, ..]))) => match word.text.as_str() {
                    "time" => d.monotonic = false,
                    "monotonic" => d.monotonic = true,
                    other => {
                        let message = format!("`anti_replay` is time or monotonic, not `{other}`");
                        self.error(&word.place, message);
                    }
                },
                ("mode", Some(Value::Words([word, ..]))) => {
                    let mode = match word.text.as_str() {
                        "enforce" => HmacMode::Enforce,
                        "permissive" => HmacMode::Permissive,
                        "receive-only" => HmacMode::ReceiveOnly,
                        other => {
                            let message = format!("`mode` is enforce, permissive or receive-only, not `{other}`");
                            self.error(&word.place, message);
                            continue;
                        }
                    };
                    d.mode = Some((mode, word.place.clone()));
                }
                _ => {}
            }
        }
    }

    fn key(&mut self, id: &Word, value: &Word, d: &mut HmacDraft) {
        let Some(number) = id.text.parse::<u8>().ok().filter(|n| *n > 0) else {
            d.bad_key = true;
            return self.error(&id.place, "the id of a key is a whole number from 1 to 255");
        };
        if d.keys.iter().any(|k| k.id == number) {
            return self.error(
                &id.place,
                format!("key {number} is written already; give this one another id"),
            );
        }
        let text = value.text.as_str();
        let secret = match text.strip_prefix("file:") {
            Some(path) => self.key_file(number, path, &value.place),
            None => self.decoded(number, text.as_bytes(), &value.place),
        };
        d.bad_key |= secret.is_none();
        // Also where it cannot be read: a comparison of two texts has no files.
        d.keys.push(HmacKey {
            id: number,
            written: value.text.clone(),
            secret: secret.unwrap_or_default(),
        });
    }

    fn key_file(&mut self, id: u8, path: &str, place: &Place) -> Option<Vec<u8>> {
        let file = match self.resolver.key_file(path) {
            Ok(file) => file,
            Err(why) => {
                self.error(place, format!("cannot read `{path}`, the file of key {id}: {why}"));
                return None;
            }
        };
        if file.open_to_others {
            let d = Diagnostic::warning(
                place,
                format!("`{path}` can be read by users other than its owner, and holds key {id}"),
            );
            self.out.push(d.hint(format!("chown root {path}; chmod 600 {path}")));
        }
        let end = file.content.iter().rposition(|b| !matches!(b, b'\n' | b'\r'));
        self.decoded(id, &file.content[..end.map_or(0, |at| at + 1)], place)
    }

    fn decoded(&mut self, id: u8, text: &[u8], place: &Place) -> Option<Vec<u8>> {
        let secret = match text.strip_prefix(b"hex:") {
            Some(digits) => unhex(digits),
            None => Some(text.to_vec()),
        };
        let Some(secret) = secret else {
            self.error(place, format!("key {id} is not hexadecimal after `hex:`"));
            return None;
        };
        if LENGTH.contains(&secret.len()) {
            return Some(secret);
        }
        let message = format!("key {id} has {} bytes, and must have 32 to 64", secret.len());
        self.out
            .push(Diagnostic::error(place, message).hint("write `hex:` and what `openssl rand -hex 32` prints"));
        None
    }

    /// The block as it counts, and what it takes away from the rest of the instance.
    pub(super) fn effective_hmac(&mut self, draft: Option<HmacDraft>, i: &mut Instance) {
        let Some(d) = draft else { return };
        if i.auth.take().is_some() {
            let message = format!(
                "`{}` has `auth_hmac`: the password is not used, as in keepalived",
                i.name
            );
            let warning = Diagnostic::warning(&d.place, message);
            self.out
                .push(warning.hint("remove `authentication`, on both hosts at once"));
        }
        let known = |id| d.keys.iter().any(|k| k.id == id);
        let active_key = match &d.active {
            Some((id, _)) if known(*id) => *id,
            Some((id, place)) => {
                if !d.bad_key {
                    self.error(place, format!("`active_key {id}` has no matching `key {id}`"));
                }
                *id
            }
            None => {
                let message = format!("`auth_hmac` of `{}` does not say which key signs", i.name);
                self.out
                    .push(Diagnostic::error(&d.place, message).hint("write `active_key` and the id of a key"));
                0
            }
        };
        let mut mode = HmacMode::Enforce;
        if let Some((written, place)) = d.mode {
            mode = written;
            if i.strict && mode != HmacMode::Enforce {
                self.warn(&place, "strict mode: `mode` is enforce, as in keepalived");
                mode = HmacMode::Enforce;
            }
        }
        let derived = (i.advert_int.as_secs() * 3).clamp(WINDOW.0, WINDOW.1) as u16;
        let window = (!d.monotonic).then_some(d.window.unwrap_or(derived));
        i.auth_hmac = Some(AuthHmac {
            keys: d.keys,
            active_key,
            mode,
            window,
        });
    }
}

/// As keepalived reads it: pairs of digits, perhaps apart; a digit alone is a byte.
fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let words = digits.split(|b| matches!(b, b' ' | b'\t'));
    words
        .flat_map(|word| word.chunks(2))
        .map(|pair| {
            let digit = |b: &u8| char::from(*b).to_digit(16);
            pair.iter().try_fold(0, |byte, b| Some(byte << 4 | digit(b)? as u8))
        })
        .collect()
}

//! `auth_hmac` of an instance: signed adverts.

use crate::inventory::model::{AuthHmac, HmacKey, SecretSource};
use crate::inventory::node::{Value, YamlNode};
use crate::inventory::secret::check_hmac_key;
use crate::inventory::table::Table;
use crate::keepalived::HmacMode;

const KEYS: &[&str] = &["keys", "active_key", "mode", "time_window"];
const KEY_KEYS: &[&str] = &["id", "key"];

const HINT: &str = "write auth_hmac: true, or keys, active_key, mode and time_window under it";

/// `true`: one key, generated and kept. Otherwise a mapping.
pub(super) fn read(instance: &Table<'_>) -> Option<AuthHmac> {
    let context = instance.context;
    let node = instance.get("auth_hmac")?;
    let generated = AuthHmac {
        keys: vec![HmacKey { id: 1, key: None }],
        active_key: 1,
        mode: HmacMode::Enforce,
        time_window: None,
    };
    let found = match &node.value {
        Value::Map(_) => mapping(&instance.table("auth_hmac", KEYS)?, generated),
        Value::Scalar { text, .. } if text != "true" && text != "false" => {
            // Perhaps the key itself.
            context.hide(node.span);
            context.error_hint(node.span, "auth_hmac must be true, false or a mapping", HINT);
            None
        }
        Value::Scalar { .. } => instance.flag("auth_hmac")?.value.then_some(generated),
        other => {
            context.hide(node.span);
            let message = format!("auth_hmac must be true, false or a mapping, not {}", other.kind());
            context.error_hint(node.span, message, HINT);
            None
        }
    };
    if found.is_some() && instance.get("auth_pass").is_some() {
        context.error_hint(
            instance.key_span("auth_pass"),
            "auth_pass does not go with auth_hmac",
            "take it out: adverts that are signed carry no password",
        );
    }
    found
}

fn mapping(table: &Table<'_>, generated: AuthHmac) -> Option<AuthHmac> {
    let context = table.context;
    let modes = [
        ("enforce", HmacMode::Enforce),
        ("permissive", HmacMode::Permissive),
        ("receive-only", HmacMode::ReceiveOnly),
    ];
    let mode = table.choice("mode", &modes).map_or(HmacMode::Enforce, |m| m.value);
    let time_window = table.integer("time_window", 1..=300);
    let keys = match table.get("keys") {
        Some(_) => keys(table)?,
        None => generated.keys,
    };
    let active_key = match (table.get("active_key"), keys.as_slice()) {
        (Some(_), _) => {
            let written = table.integer("active_key", 1..=255)?;
            let id = u8::try_from(written.value).ok()?;
            if !keys.iter().any(|k| k.id == id) {
                let hint = "active_key is the id of the key that signs";
                context.error_hint(written.span, format!("no key has the id {id}"), hint);
            }
            id
        }
        (None, [only]) => only.id,
        (None, _) => {
            context.error_hint(
                table.key_span("keys"),
                "auth_hmac with several keys lacks active_key",
                "write the id of the key that signs; a key is replaced in three applies: add it, make it active, remove the old one",
            );
            return None;
        }
    };
    Some(AuthHmac {
        keys,
        active_key,
        mode,
        time_window: time_window.and_then(|w| u16::try_from(w.value).ok()),
    })
}

fn keys(table: &Table<'_>) -> Option<Vec<HmacKey>> {
    let context = table.context;
    let items = table.list("keys")?;
    if items.value.is_empty() {
        context.error_hint(
            items.span,
            "auth_hmac without a key",
            "leave keys out: then one is generated and kept",
        );
        return None;
    }
    let mut keys: Vec<HmacKey> = Vec::new();
    let mut whole = true;
    for node in items.value {
        let Some(key) = key(table, node) else {
            whole = false;
            continue;
        };
        if keys.iter().any(|k| k.id == key.id) {
            context.error(node.span, format!("two keys have the id {}", key.id));
        }
        keys.push(key);
    }
    whole.then_some(keys)
}

/// `{id: 1}`, or with a `key`. What is written in the inventory is checked here; what comes from elsewhere, when it is resolved.
fn key(table: &Table<'_>, node: &YamlNode) -> Option<HmacKey> {
    let context = table.context;
    if !matches!(node.value, Value::Map(_)) {
        // Perhaps the key itself.
        context.hide(node.span);
    }
    let item = Table::new(context, node, "a key of auth_hmac", KEY_KEYS)?;
    item.need("id", "1 to 255, the same on both hosts");
    let id = item.integer("id", 1..=255)?;
    let key = match item.get("key") {
        None => None,
        Some(_) => Some(item.secret("key")?),
    };
    if let Some(written) = &key
        && let SecretSource::Literal(text) = &written.value
        && let Err(why) = check_hmac_key(text)
    {
        let hint = "write hex: and what `openssl rand -hex 32` prints, or leave it out: then one is generated and kept";
        context.error_hint(written.span, format!("this key {why}"), hint);
    }
    Some(HmacKey {
        id: u8::try_from(id.value).ok()?,
        key: key.map(|k| k.value),
    })
}

//! `auth_hmac`, as keepalived 2.4.3 reads it, and stricter where less than is written would be signed.

use super::*;

const HEX: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

struct Keys;

impl Resolver for Keys {
    fn include(&self, _: &str, _: &Path) -> Vec<Include> {
        Vec::new()
    }

    fn key_file(&self, path: &str) -> Result<KeyFile, String> {
        let (content, open_to_others) = match path {
            "/k/plain" => ("0123456789abcdef0123456789abcdef\n".to_owned(), false),
            "/k/hex" => (format!("{HEX}\r\n"), false),
            "/k/open" => (format!("{HEX}\n"), true),
            "/k/empty" => (String::new(), false),
            _ => return Err("no such file".to_owned()),
        };
        let content = content.into_bytes();
        Ok(KeyFile {
            content,
            open_to_others,
        })
    }
}

/// The `auth_hmac` of an instance with those lines, and what is said of it.
fn read(lines: &str) -> (Instance, Vec<String>) {
    let text = format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 51\n{lines}\n virtual_ipaddress {{\n 10.0.0.9\n }}\n}}\n"
    );
    let options = Options {
        resolver: &Keys,
        ..Options::default()
    };
    let (config, found) = lint(&text, &options);
    let instance = config.instances[0].as_ref().clone();
    (instance, found.iter().map(ToString::to_string).collect())
}

fn block(lines: &str) -> (AuthHmac, Vec<String>) {
    let (instance, found) = read(&format!(" auth_hmac {{\n{lines}\n }}"));
    (instance.auth_hmac.unwrap(), found)
}

/// The only thing that is said.
fn said(lines: &str) -> String {
    let (_, found) = block(lines);
    let [one] = &found[..] else { panic!("{found:?}") };
    one.clone()
}

#[test]
fn the_defaults_are_those_of_keepalived() {
    let (auth, found) = block(&format!("key 1 {HEX}\nactive_key 1"));
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(
        (auth.active_key, auth.mode, auth.window),
        (1, HmacMode::Enforce, Some(5))
    );
    assert_eq!(auth.keys[0].secret, (0..32).collect::<Vec<u8>>());
    for (interval, window) in [("0.5", 5), ("1", 5), ("2", 6), ("2.9", 6), ("200", 300)] {
        let (i, _) = read(&format!(
            " version 3\n advert_int {interval}\n auth_hmac {{\nkey 1 {HEX}\nactive_key 1\n }}"
        ));
        // 40.95 s are the most that version 3 can say.
        let window = if interval == "200" { 120 } else { window };
        assert_eq!(i.auth_hmac.unwrap().window, Some(window), "{interval}");
    }
}

#[test]
fn everything_that_can_be_written_is_read() {
    let (auth, found) = block(&format!(
        "key 1 {HEX}\nkey 255 file:/k/plain\nkey 7 'a key of thirty-two bytes, or so!'\nkey 8 file:/k/hex\nactive_key 255\n\
         anti_replay time\ntime_window 300\nmode permissive"
    ));
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(
        (auth.active_key, auth.mode, auth.window),
        (255, HmacMode::Permissive, Some(300))
    );
    let ids: Vec<u8> = auth.keys.iter().map(|k| k.id).collect();
    assert_eq!(ids, [1, 255, 7, 8]);
    assert_eq!(auth.keys[1].secret, b"0123456789abcdef0123456789abcdef");
    assert_eq!(auth.keys[2].secret, b"a key of thirty-two bytes, or so!");
    assert_eq!(auth.keys[3].secret, auth.keys[0].secret);
    let (auth, _) = block(&format!(
        "key 1 {HEX}\nactive_key 1\nanti_replay monotonic\nmode receive-only"
    ));
    assert_eq!((auth.mode, auth.window), (HmacMode::ReceiveOnly, None));
    // Several blocks are one, and what is written last counts.
    let (i, found) = read(&format!(
        " auth_hmac {{\nkey 1 {HEX}\nactive_key 1\nmode permissive\n }}\n auth_hmac {{\nkey 2 file:/k/plain\nactive_key 2\n }}"
    ));
    assert!(found.is_empty(), "{found:?}");
    let auth = i.auth_hmac.unwrap();
    assert_eq!(
        (auth.keys.len(), auth.active_key, auth.mode),
        (2, 2, HmacMode::Permissive)
    );
}

#[test]
fn what_would_be_signed_with_less_is_an_error() {
    let good = format!("key 1 {HEX}\nactive_key 1");
    for (lines, wanted) in [
        (
            "key 1 hex:00\nactive_key 1".to_owned(),
            "keepalived.conf:5:7: error: key 1 has 1 bytes, and must have 32 to 64\n  hint: write `hex:` and what `openssl rand \
             -hex 32` prints",
        ),
        (
            "key 1 hex:zz\nactive_key 1".to_owned(),
            "keepalived.conf:5:7: error: key 1 is not hexadecimal after `hex:`",
        ),
        (
            "key 1 short\nactive_key 1".to_owned(),
            "keepalived.conf:5:7: error: key 1 has 5 bytes, and must have 32 to 64\n  hint: write `hex:` and what `openssl rand \
             -hex 32` prints",
        ),
        (
            format!("key 0 {HEX}\nactive_key 1"),
            "keepalived.conf:5:5: error: the id of a key is a whole number from 1 to 255",
        ),
        (
            format!("{good}\nkey 1 file:/k/plain"),
            "keepalived.conf:7:5: error: key 1 is written already; give this one another id",
        ),
        (
            "key 1 file:/k/none\nactive_key 1".to_owned(),
            "keepalived.conf:5:7: error: cannot read `/k/none`, the file of key 1: no such file",
        ),
        (
            "key 1 file:/k/empty\nactive_key 1".to_owned(),
            "keepalived.conf:5:7: error: key 1 has 0 bytes, and must have 32 to 64\n  hint: write `hex:` and what `openssl rand \
             -hex 32` prints",
        ),
        (
            format!("key 1 {HEX}\nactive_key 2"),
            "keepalived.conf:6:1: error: `active_key 2` has no matching `key 2`",
        ),
        (
            format!("key 1 {HEX}"),
            "keepalived.conf:4:2: error: `auth_hmac` of `V` does not say which key signs\n  hint: write `active_key` and the id of \
             a key",
        ),
        (
            format!("{good}\nmode Enforce"),
            "keepalived.conf:7:6: error: `mode` is enforce, permissive or receive-only, not `Enforce`",
        ),
        (
            format!("{good}\nanti_replay never"),
            "keepalived.conf:7:13: error: `anti_replay` is time or monotonic, not `never`",
        ),
        (
            format!("{good}\ntime_window 301"),
            "keepalived.conf:7:13: error: `time_window` is a whole number from 1 to 300, not `301`",
        ),
        (
            "key 1\nactive_key 1".to_owned(),
            "keepalived.conf:5:1: error: `key` needs a value",
        ),
    ] {
        assert_eq!(said(&lines), wanted);
    }
}

#[test]
fn a_key_that_others_can_read_is_warned_of_and_no_key_is_shown() {
    assert_eq!(
        said("key 1 file:/k/open\nactive_key 1"),
        "keepalived.conf:5:7: warning: `/k/open` can be read by users other than its owner, and holds key 1\n  hint: chown root \
         /k/open; chmod 600 /k/open"
    );
    let warned = said(&format!("key 1 {HEX} {HEX}\nactive_key 1"));
    assert!(warned.contains("`***` after `key` is ignored"), "{warned}");
    let (auth, _) = block(&format!("key 1 {HEX}\nactive_key 1"));
    assert!(!format!("{auth:?}").contains("0102"), "{auth:?}");
    for bad in ["hex:0102zz", "0102030405"] {
        let (_, found) = block(&format!("key 1 {bad}\nactive_key 1"));
        assert!(!format!("{found:?}").contains("0102"), "{found:?}");
    }
}

#[test]
fn a_password_beside_it_is_not_used() {
    let (i, found) = read(&format!(
        " authentication {{\n auth_type PASS\n auth_pass 1111\n }}\n auth_hmac {{\nkey 1 {HEX}\nactive_key 1\n }}"
    ));
    assert!(i.auth.is_none() && i.auth_hmac.is_some());
    assert_eq!(
        found,
        [
            "keepalived.conf:8:2: warning: `V` has `auth_hmac`: the password is not used, as in keepalived\n  hint: remove \
          `authentication`, on both hosts at once"
        ]
    );
}

#[test]
fn strict_mode_enforces() {
    let (i, found) = read(&format!(
        " strict_mode\n auth_hmac {{\nkey 1 {HEX}\nactive_key 1\nmode permissive\n }}"
    ));
    assert_eq!(i.auth_hmac.unwrap().mode, HmacMode::Enforce);
    assert!(
        found
            .iter()
            .any(|f| f.contains("8:6: warning: strict mode: `mode` is enforce, as in keepalived")),
        "{found:?}"
    );
}

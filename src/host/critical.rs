//! Whether two keepalived.conf files disagree in what an election needs both sides to agree on.

use std::collections::BTreeMap;

/// What the peers must have in common, by instance name.
type Election = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// True when some instance that both texts hold has another version, `virtual_router_id`, `advert_int`, authentication,
/// VIP list, or changes between multicast and unicast: with one host changed, each would reject the other's adverts.
pub(super) fn differs(old: &str, new: &str) -> bool {
    let (old, new) = (election(old), election(new));
    new.iter()
        .any(|(name, keys)| old.get(name).is_some_and(|before| before != keys))
}

fn election(text: &str) -> Election {
    let words = words(text);
    let mut found = Election::new();
    let mut global_version = Vec::new();
    // Names of the blocks we are in, outermost first.
    let mut path: Vec<String> = Vec::new();
    let mut line: Vec<String> = Vec::new();
    let mut instance = String::new();
    for word in words.into_iter().chain([Word::End]) {
        match word {
            Word::Text(text) => {
                line.push(text);
                continue;
            }
            Word::Open => {
                path.push(line.first().cloned().unwrap_or_default());
                if path.len() == 1 && path[0] == "vrrp_instance" {
                    instance = line.get(1).cloned().unwrap_or_default();
                    found.entry(instance.clone()).or_default();
                }
                if path.len() == 2 && path[0] == "vrrp_instance" && path[1] == "unicast_peer" {
                    found
                        .entry(instance.clone())
                        .or_default()
                        .insert("unicast".into(), Vec::new());
                }
            }
            Word::Close | Word::End => {
                keep(&mut found, &mut global_version, &path, &instance, &line);
                if matches!(word, Word::Close) {
                    path.pop();
                }
            }
        }
        line.clear();
    }
    for keys in found.values_mut() {
        keys.entry("version".into()).or_insert_with(|| {
            if global_version.is_empty() {
                vec!["2".into()]
            } else {
                global_version.clone()
            }
        });
        keys.entry("advert_int".into()).or_insert_with(|| vec!["1".into()]);
        if let Some(vips) = keys.get_mut("virtual_ipaddress") {
            vips.sort();
        }
    }
    found
}

/// Takes note of one finished line.
fn keep(found: &mut Election, version: &mut Vec<String>, path: &[String], instance: &str, line: &[String]) {
    let Some((key, rest)) = line.split_first() else { return };
    match path {
        [a] if a == "global_defs" && key == "vrrp_version" => *version = rest.to_vec(),
        [a] if a == "vrrp_instance" && matches!(key.as_str(), "version" | "virtual_router_id" | "advert_int") => {
            let value = match (key.as_str(), rest.first().and_then(|v| v.parse::<f64>().ok())) {
                ("advert_int", Some(seconds)) => vec![seconds.to_string()],
                _ => rest.to_vec(),
            };
            found.entry(instance.to_owned()).or_default().insert(key.clone(), value);
        }
        [a, b] if a == "vrrp_instance" && b == "authentication" => {
            found
                .entry(instance.to_owned())
                .or_default()
                .insert(key.clone(), rest.to_vec());
        }
        [a, b] if a == "vrrp_instance" && b == "virtual_ipaddress" => {
            // Only the address travels in adverts; its prefix, device and label do not.
            let address = key.split('/').next().unwrap_or(key).to_owned();
            found
                .entry(instance.to_owned())
                .or_default()
                .entry(b.clone())
                .or_default()
                .push(address);
        }
        _ => {}
    }
}

enum Word {
    Text(String),
    Open,
    Close,
    End,
}

/// Words and braces; `!` and `#` start a comment; the end of a line ends a statement.
fn words(text: &str) -> Vec<Word> {
    let mut out = Vec::new();
    for line in text.lines() {
        let code = line.split(['!', '#']).next().unwrap_or_default();
        let spaced = code.replace('{', " { ").replace('}', " } ");
        let mut pending = false;
        for word in spaced.split_whitespace() {
            match word {
                "{" => out.push(Word::Open),
                "}" => out.push(Word::Close),
                _ => out.push(Word::Text(word.trim_matches('"').to_owned())),
            }
            pending = !matches!(word, "{" | "}");
        }
        if pending {
            out.push(Word::End);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "global_defs {\n router_id a\n}\nvrrp_instance VI_1 {\n state MASTER # x\n virtual_router_id 51\n priority 101\n \
        authentication {\n auth_type PASS\n auth_pass 1111\n }\n virtual_ipaddress {\n 192.168.0.200\n }\n}\n";

    #[test]
    fn what_travels_in_adverts_is_critical() {
        for (from, to) in [
            ("auth_pass 1111", "auth_pass 2222"),
            ("virtual_router_id 51", "virtual_router_id 52"),
            ("priority 101", "priority 101\n advert_int 2"),
            ("192.168.0.200", "192.168.0.200\n 192.168.0.210"),
            ("priority 101", "priority 101\n unicast_peer {\n 10.0.0.2\n }"),
            ("router_id a", "router_id a\n vrrp_version 3"),
        ] {
            assert!(differs(BASE, &BASE.replace(from, to)), "{to}");
        }
    }

    #[test]
    fn the_rest_is_not() {
        for (from, to) in [
            ("priority 101", "priority 150"),
            ("state MASTER # x", "state BACKUP"),
            ("priority 101", "priority 101\n advert_int 1"),
            ("192.168.0.200", "192.168.0.200/24 dev eth0"),
            ("virtual_ipaddress {\n 192", "virtual_ipaddress {\n# 192.168.0.9\n 192"),
            ("router_id a", "router_id b"),
        ] {
            assert!(!differs(BASE, &BASE.replace(from, to)), "{to}");
        }
        assert!(!differs("", BASE) && !differs(BASE, ""));
    }
}

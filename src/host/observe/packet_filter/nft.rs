//! Rules as `nft list ruleset` prints them.

use super::iptables::{contains, is_vrrp, states};
use super::walk::{Action, Advert, Chains, Fate, Matches, Rule, walk};

/// What the tables do with an advert: each must let it in.
pub(crate) fn fate(text: &str, advert: Advert<'_>) -> Fate {
    let mut worst = Fate::Undecided;
    for table in tables(text, advert) {
        for base in &table.bases {
            let fate = match walk(&table.chains, &base.chain) {
                Fate::Undecided if base.drops => Fate::Dropped,
                fate => fate,
            };
            match fate {
                Fate::Dropped => return Fate::Dropped,
                Fate::Unsure => worst = Fate::Unsure,
                Fate::Accepted | Fate::Undecided => {}
            }
        }
    }
    worst
}

#[derive(Default)]
struct Table {
    chains: Chains,
    bases: Vec<Base>,
}

/// A chain that packets for the host itself go through.
struct Base {
    chain: String,
    /// What no rule decides is dropped.
    drops: bool,
}

/// Tables of IPv4 packets.
fn tables(text: &str, advert: Advert<'_>) -> Vec<Table> {
    let mut tables = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let words = words(line);
        if words.first().map(String::as_str) != Some("table") {
            continue;
        }
        let mut table = Table::default();
        while let Some(line) = lines.next() {
            let trimmed = line.trim();
            if trimmed == "}" {
                break;
            }
            match trimmed.strip_prefix("chain ").and_then(|rest| rest.strip_suffix('{')) {
                Some(name) => chain(&mut table, name.trim(), &mut lines, advert),
                // A set, a map: skipped to its closing brace.
                None if trimmed.ends_with('{') => drop(whole(trimmed, &mut lines)),
                None => {}
            }
        }
        if matches!(words.get(1).map(String::as_str), Some("ip" | "inet")) {
            tables.push(table);
        }
    }
    tables
}

fn chain<'t>(table: &mut Table, name: &str, lines: &mut impl Iterator<Item = &'t str>, advert: Advert<'_>) {
    let mut rules = Vec::new();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed == "}" {
            break;
        }
        let words = words(&whole(trimmed, lines));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match &words[..] {
            [] => {}
            ["type", kind, "hook", hook, ..] => {
                let drops = words.windows(2).any(|w| w == ["policy", "drop"]);
                if (*kind, *hook) == ("filter", "input") {
                    table.bases.push(Base {
                        chain: name.to_owned(),
                        drops,
                    });
                }
            }
            all => rules.push(rule(all, advert)),
        }
    }
    table.chains.insert(name.to_owned(), rules);
}

/// A statement that may go on over some lines, until its braces are closed.
fn whole<'t>(first: &str, lines: &mut impl Iterator<Item = &'t str>) -> String {
    let open = |text: &str| text.matches('{').count() > text.matches('}').count();
    let mut all = first.to_owned();
    while open(&all) {
        let Some(line) = lines.next() else { break };
        all.push(' ');
        all.push_str(line.trim());
    }
    all
}

/// Words; quotes keep blanks together, and braces, commas and semicolons stand alone.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' | '}' | ',' | ';' if !quoted => all.extend([c.to_string(), String::new()]),
            c if c.is_whitespace() && !quoted => all.push(String::new()),
            c => all.last_mut().expect("never empty").push(c),
        }
    }
    all.retain(|word| !word.is_empty() && word != ";");
    all
}

fn rule(words: &[&str], advert: Advert<'_>) -> Rule {
    let mut matches = Matches::Yes;
    let mut rest = words;
    let mut action = None;
    while let [word, after @ ..] = rest {
        let one;
        (one, rest) = match (*word, after) {
            ("accept", after) => {
                action.get_or_insert(Action::Accept);
                (Matches::Yes, after)
            }
            ("drop" | "reject", _) => {
                action.get_or_insert(Action::Drop);
                break;
            }
            ("return", after) => {
                action.get_or_insert(Action::Return);
                (Matches::Yes, after)
            }
            ("jump", [to, after @ ..]) => {
                action.get_or_insert(Action::Jump((*to).to_owned()));
                (Matches::Yes, after)
            }
            ("goto", [to, after @ ..]) => {
                action.get_or_insert(Action::Goto((*to).to_owned()));
                (Matches::Yes, after)
            }
            ("meta", after) => (Matches::Yes, after),
            ("counter", ["packets", _, "bytes", _, after @ ..] | after) => (Matches::Yes, after),
            ("comment", [_, after @ ..]) => (Matches::Yes, after),
            ("iif" | "iifname", after) => asked(after, |value| Some(advert.arrives_on(value, '*'))),
            ("l4proto", after) | ("ip", ["protocol", after @ ..]) => asked(after, |value| Some(is_vrrp(value))),
            ("ip", ["saddr", after @ ..]) => asked(after, |value| contains(value, advert.from)),
            ("ip", ["daddr", after @ ..]) => asked(after, |value| contains(value, advert.to)),
            ("nfproto", after) => asked(after, |value| Some(value == "ipv4")),
            ("pkttype", after) => asked(after, |value| Some((value == "multicast") == advert.to.is_multicast())),
            ("ct", ["state", "vmap", ..]) => return vmap(after, advert),
            ("ct", ["state", after @ ..]) => ct_state(after, advert),
            ("ip6" | "tcp" | "udp" | "udplite" | "sctp" | "dccp" | "icmp" | "icmpv6" | "esp" | "ah", after) => {
                (Matches::No, after)
            }
            // Not understood; a verdict may follow.
            (_, after) => (Matches::Maybe, after),
        };
        matches = matches.and(one);
    }
    let unknown = words.iter().any(|w| matches!(*w, "vmap" | "queue" | "tproxy"));
    let default = if unknown { Action::Unknown } else { Action::Nothing };
    Rule {
        matches,
        action: action.unwrap_or(default),
    }
}

/// `[!=] VALUE` or `[!=] { VALUE, VALUE }`; `None` of `is` and a named set: that cannot be told.
fn asked<'w, 'a>(words: &'w [&'a str], is: impl Fn(&str) -> Option<bool>) -> (Matches, &'w [&'a str]) {
    let (negated, words) = match words {
        ["!=", rest @ ..] => (true, rest),
        ["==", rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (values, rest) = match words {
        // Decides by a table; an action of its own.
        ["vmap" | "map", ..] => return (Matches::Maybe, &[]),
        ["{", inside @ ..] => {
            let end = inside.iter().position(|w| *w == "}").unwrap_or(inside.len());
            (&inside[..end], inside.get(end + 1..).unwrap_or_default())
        }
        [one, rest @ ..] => (std::slice::from_ref(one), rest),
        [] => return (Matches::Maybe, words),
    };
    let mut any = Matches::No;
    for value in values.iter().filter(|v| **v != ",") {
        match if value.starts_with(['@', '$']) { None } else { is(value) } {
            Some(true) => {
                any = Matches::Yes;
                break;
            }
            Some(false) => {}
            None => any = Matches::Maybe,
        }
    }
    (if negated { any.not() } else { any }, rest)
}

/// `established,related`, or with braces.
fn ct_state<'w, 'a>(words: &'w [&'a str], advert: Advert<'_>) -> (Matches, &'w [&'a str]) {
    const STATES: [&str; 5] = ["established", "related", "new", "invalid", "untracked"];
    let is_part = |word: &&&str| STATES.contains(*word) || [",", "{", "}"].contains(*word);
    let length = words.iter().take_while(is_part).count();
    if length == 0 {
        return (Matches::Maybe, words);
    }
    let list: Vec<&str> = words[..length]
        .iter()
        .filter(|w| STATES.contains(*w))
        .copied()
        .collect();
    (states(&list.join(","), advert), &words[length..])
}

/// `state vmap { established : accept, invalid : drop }`: what it does with the states that an advert can have.
fn vmap(words: &[&str], advert: Advert<'_>) -> Rule {
    let of = |state: &str| words.windows(3).find(|w| w[0] == state && w[1] == ":").map(|w| w[2]);
    let (matches, verdict) = match (of("new"), advert.to.is_multicast()) {
        (Some(verdict), _) => (Matches::Yes, verdict),
        (None, true) => (Matches::No, "drop"),
        (None, false) => (Matches::Maybe, of("established").unwrap_or("drop")),
    };
    let action = match verdict {
        "accept" => Action::Accept,
        "drop" => Action::Drop,
        _ => Action::Unknown,
    };
    Rule { matches, action }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::observe::packet_filter::walk::tests::ADVERT;

    fn filter(rules: &str, policy: &str) -> String {
        format!(
            "table inet filter {{\n\tset good {{\n\t\ttype ipv4_addr\n\t\telements = {{ 10.0.0.1,\n\t\t\t     10.0.0.2 }}\n\t}}\n\n\
             \tchain input {{\n\t\ttype filter hook input priority filter; policy {policy};\n{rules}\t}}\n\n\
             \tchain output {{\n\t\ttype filter hook output priority filter; policy drop;\n\t}}\n}}\n"
        )
    }

    /// As in `/etc/sysconfig/nftables.conf` of many a host.
    const USUAL: &str = "\t\tct state established,related accept\n\t\tct state invalid counter packets 0 bytes 0 drop\n\
        \t\tiif \"lo\" accept\n\t\tip protocol icmp accept\n\t\tmeta l4proto { icmp, ipv6-icmp } accept\n\
        \t\ttcp dport { 22, 80 } accept\n";

    #[test]
    fn a_filter_that_lets_in_ssh_alone_drops_adverts() {
        assert_eq!(fate(&filter(USUAL, "drop"), ADVERT), Fate::Dropped);
        let reject = format!("{USUAL}\t\treject with icmpx type admin-prohibited\n");
        assert_eq!(fate(&filter(&reject, "accept"), ADVERT), Fate::Dropped);
        for lets_in in [
            "ip protocol vrrp accept",
            "ip protocol 112 counter packets 3 bytes 120 accept comment \"VRRP { here\"",
            "meta l4proto { tcp, vrrp } accept",
            "iifname \"enp0s3\" ip saddr 192.168.0.0/24 accept",
            "ip daddr 224.0.0.0/4 accept",
            "iifname != \"enp0s8\" accept",
            "meta pkttype multicast accept",
        ] {
            let text = filter(&format!("{USUAL}\t\t{lets_in}\n"), "drop");
            assert_ne!(fate(&text, ADVERT), Fate::Dropped, "{lets_in}");
        }
        for other in [
            "iifname \"enp0s8\" accept",
            "ip saddr != 192.168.0.0/24 accept",
            "udp dport 53 accept",
        ] {
            let text = filter(&format!("{USUAL}\t\t{other}\n"), "drop");
            assert_eq!(fate(&text, ADVERT), Fate::Dropped, "{other}");
        }
        // Who knows what is in the set.
        let set = filter(&format!("{USUAL}\t\tip saddr @good accept\n"), "drop");
        assert_eq!(fate(&set, ADVERT), Fate::Unsure);
    }

    #[test]
    fn what_is_open_or_not_for_ipv4_drops_nothing() {
        assert_eq!(fate("", ADVERT), Fate::Undecided);
        assert_eq!(fate(&filter(USUAL, "accept"), ADVERT), Fate::Undecided);
        let v6 = filter(USUAL, "drop").replace("table inet", "table ip6");
        assert_eq!(fate(&v6, ADVERT), Fate::Undecided);
    }

    #[test]
    fn chains_and_maps_of_states_are_followed() {
        let jump = "\t\tct state vmap { established : accept, related : accept, invalid : drop }\n\t\tjump more\n\t}\n\n\
            \tchain more {\n\t\ttcp dport 22 accept\n\t\tVERDICT\n";
        assert_eq!(
            fate(&filter(&jump.replace("VERDICT", "drop"), "accept"), ADVERT),
            Fate::Dropped
        );
        assert_eq!(
            fate(&filter(&jump.replace("VERDICT", "return"), "accept"), ADVERT),
            Fate::Undecided
        );
        // firewalld dispatches by interface through a map, which is not understood.
        let map = filter(
            &jump.replace("VERDICT", "iifname vmap { \"enp0s3\" : goto public }"),
            "drop",
        );
        assert_eq!(fate(&map, ADVERT), Fate::Unsure);
    }
}

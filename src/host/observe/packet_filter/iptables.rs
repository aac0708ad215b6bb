//! Rules as `iptables-save` prints them.

use std::net::Ipv4Addr;

use super::walk::{Action, Advert, Chains, Fate, Matches, Rule, walk};
use crate::vrrp::packet::PROTOCOL;

/// What the filter table does with an advert.
pub(crate) fn fate(text: &str, advert: Advert<'_>) -> Fate {
    let filter = text
        .lines()
        .skip_while(|line| line.trim() != "*filter")
        .take_while(|line| line.trim() != "COMMIT");
    let (mut chains, mut drops) = (Chains::new(), false);
    let mut rules = Vec::new();
    for line in filter {
        if let Some(declared) = line.strip_prefix(':') {
            // `:INPUT ACCEPT [0:0]`
            let mut words = declared.split_whitespace();
            let name = words.next().unwrap_or_default();
            drops |= name == "INPUT" && words.next() == Some("DROP");
            chains.entry(name.to_owned()).or_default();
        } else if line.starts_with("-A ") {
            rules.push(words(line));
        }
    }
    for words in rules {
        let [_, chain, rest @ ..] = &words[..] else { continue };
        let rule = rule(rest, advert, &|name| chains.contains_key(name));
        chains.entry(chain.clone()).or_default().push(rule);
    }
    if !chains.contains_key("INPUT") {
        return Fate::Undecided;
    }
    match walk(&chains, "INPUT") {
        Fate::Undecided if drops => Fate::Dropped,
        fate => fate,
    }
}

/// Words of a line; quotes keep blanks together.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in line.chars() {
        let last = all.last_mut().expect("never empty");
        match c {
            _ if escaped => {
                last.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => all.push(String::new()),
            c => last.push(c),
        }
    }
    all.retain(|word| !word.is_empty());
    all
}

fn rule(words: &[String], advert: Advert<'_>, is_chain: &dyn Fn(&str) -> bool) -> Rule {
    let mut matches = Matches::Yes;
    let mut action = Action::Nothing;
    let mut negated = false;
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let one = match word {
            "!" => {
                negated = true;
                continue;
            }
            "-p" | "--protocol" => Matches::of(is_vrrp(words.next().unwrap_or_default())),
            "-i" | "--in-interface" => Matches::of(advert.arrives_on(words.next().unwrap_or_default(), '+')),
            "-s" | "--source" => subnets(words.next().unwrap_or_default(), advert.from),
            "-d" | "--destination" => subnets(words.next().unwrap_or_default(), advert.to),
            "--state" | "--ctstate" => states(words.next().unwrap_or_default(), advert),
            "--pkt-type" => match advert.to.is_multicast() {
                true => Matches::of(words.next() == Some("multicast")),
                false => Matches::of(words.next() == Some("unicast")),
            },
            "--dst-type" => match words.next() {
                Some("MULTICAST") => Matches::of(advert.to.is_multicast()),
                Some("LOCAL") => Matches::of(!advert.to.is_multicast()),
                _ => Matches::Maybe,
            },
            // The module's own options say what it asks.
            "-m" | "--match" => {
                let module = words.next().unwrap_or_default();
                let known = [
                    "state",
                    "conntrack",
                    "comment",
                    "pkttype",
                    "addrtype",
                    "tcp",
                    "udp",
                    "icmp",
                ];
                if known.contains(&module) {
                    Matches::Yes
                } else {
                    Matches::Maybe
                }
            }
            "--comment" => {
                words.next();
                Matches::Yes
            }
            "-j" | "--jump" | "-g" | "--goto" => {
                action = action_of(word, words.next().unwrap_or_default(), is_chain);
                // What follows are the target's own options.
                break;
            }
            // Values of options that are not known.
            value if !value.starts_with('-') => continue,
            _ => Matches::Maybe,
        };
        matches = matches.and(if negated { one.not() } else { one });
        negated = false;
    }
    Rule { matches, action }
}

fn action_of(option: &str, target: &str, is_chain: &dyn Fn(&str) -> bool) -> Action {
    match target {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "LOG" | "NFLOG" | "ULOG" | "MARK" | "CONNMARK" | "TRACE" | "AUDIT" => Action::Nothing,
        chain if is_chain(chain) && matches!(option, "-g" | "--goto") => Action::Goto(chain.to_owned()),
        chain if is_chain(chain) => Action::Jump(chain.to_owned()),
        _ => Action::Unknown,
    }
}

/// Protocol 112, or any.
pub(super) fn is_vrrp(name: &str) -> bool {
    matches!(name, "vrrp" | "carp" | "all" | "0") || name.parse() == Ok(PROTOCOL)
}

/// `10.0.0.0/8,192.168.0.0/255.255.0.0`.
fn subnets(list: &str, address: Ipv4Addr) -> Matches {
    let mut any = Matches::No;
    for subnet in list.split(',') {
        match contains(subnet, address) {
            Some(true) => return Matches::Yes,
            Some(false) => {}
            None => any = Matches::Maybe,
        }
    }
    any
}

/// `None`: it cannot be read.
pub(super) fn contains(subnet: &str, address: Ipv4Addr) -> Option<bool> {
    let (network, mask) = subnet.split_once('/').unwrap_or((subnet, "32"));
    let network: Ipv4Addr = network.parse().ok()?;
    let mask = match mask.parse::<u32>() {
        Ok(bits) => u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0),
        Err(_) => u32::from(mask.parse::<Ipv4Addr>().ok()?),
    };
    Some(u32::from(network) & mask == u32::from(address) & mask)
}

/// Nobody answers an advert that goes to the group, so that to the connection tracking each is new.
pub(super) fn states(list: &str, advert: Advert<'_>) -> Matches {
    let has = |state: &str| list.split(',').any(|s| s.trim().eq_ignore_ascii_case(state));
    if has("NEW") {
        return Matches::Yes;
    }
    match (advert.to.is_multicast(), has("ESTABLISHED") || has("UNTRACKED")) {
        (false, true) => Matches::Maybe,
        _ if has("UNTRACKED") => Matches::Maybe,
        _ => Matches::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::observe::packet_filter::walk::tests::ADVERT;

    fn filter(rules: &str) -> String {
        format!(
            "# Generated by iptables-save v1.8.9\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"
        )
    }

    /// What CentOS 6 had, and many a CentOS 7 with iptables-services has.
    const CENTOS_6: &str = "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n\
        -A INPUT -p icmp -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n\
        -A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT\n";
    const REJECT: &str = "-A INPUT -j REJECT --reject-with icmp-host-prohibited\n";

    #[test]
    fn rules_that_let_in_ssh_alone_drop_adverts() {
        assert_eq!(fate(&filter(&format!("{CENTOS_6}{REJECT}")), ADVERT), Fate::Dropped);
        for lets_in in [
            "-A INPUT -p vrrp -j ACCEPT\n",
            "-A INPUT -p 112 -m comment --comment \"VRRP, do not drop\" -j ACCEPT\n",
            "-A INPUT -d 224.0.0.18/32 -i enp0s3 -j ACCEPT\n",
            "-A INPUT -d 224.0.0.0/4 -j ACCEPT\n",
            "-A INPUT -s 192.168.0.0/24 -j ACCEPT\n",
            "-A INPUT -s 10.0.0.0/8,192.168.0.0/255.255.255.0 -j ACCEPT\n",
            "-A INPUT -m pkttype --pkt-type multicast -j ACCEPT\n",
            "-A INPUT ! -i enp0s8 -j ACCEPT\n",
        ] {
            let text = filter(&format!("{CENTOS_6}{lets_in}{REJECT}"));
            assert_eq!(fate(&text, ADVERT), Fate::Accepted, "{lets_in}");
        }
        // Who knows what is in the set.
        let set = "-A INPUT -m set --match-set peers src -j ACCEPT\n";
        assert_eq!(fate(&filter(&format!("{CENTOS_6}{set}{REJECT}")), ADVERT), Fate::Unsure);
    }

    #[test]
    fn no_rules_a_policy_and_an_open_filter() {
        assert_eq!(fate("", ADVERT), Fate::Undecided);
        assert_eq!(fate(&filter(""), ADVERT), Fate::Undecided);
        assert_eq!(fate(&filter(CENTOS_6), ADVERT), Fate::Undecided);
        let policy = filter(CENTOS_6).replace(":INPUT ACCEPT", ":INPUT DROP");
        assert_eq!(fate(&policy, ADVERT), Fate::Dropped);
        let other = filter("-A INPUT -s 192.168.0.77/32 -j DROP\n-A INPUT -i enp0s8 -j REJECT\n");
        assert_eq!(fate(&other, ADVERT), Fate::Undecided);
    }

    #[test]
    fn firewalld_of_centos_7_drops_what_no_zone_lets_in() {
        let rules = ":INPUT_ZONES - [0:0]\n:IN_public - [0:0]\n:IN_public_allow - [0:0]\n:INPUT_direct - [0:0]\n\
            -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n\
            -A INPUT -j INPUT_direct\n-A INPUT -j INPUT_ZONES\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n\
            -A INPUT -j REJECT --reject-with icmp-host-prohibited\n-A INPUT_ZONES -i enp0s3 -g IN_public\n\
            -A INPUT_ZONES -g IN_public\n-A IN_public -j IN_public_allow\n-A IN_public -p icmp -j ACCEPT\n\
            -A IN_public_allow -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT\n";
        assert_eq!(fate(&filter(rules), ADVERT), Fate::Dropped);
        let rich = format!(
            "{rules}-A IN_public_allow -s 192.168.0.202/32 -p vrrp -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT\n"
        );
        assert_eq!(fate(&filter(&rich), ADVERT), Fate::Accepted);
    }

    #[test]
    fn unicast_may_be_an_answer_to_our_own_adverts() {
        let unicast = Advert {
            to: Ipv4Addr::new(192, 168, 0, 201),
            ..ADVERT
        };
        assert_eq!(fate(&filter(&format!("{CENTOS_6}{REJECT}")), unicast), Fate::Unsure);
        assert_eq!(fate(&filter(REJECT), unicast), Fate::Dropped);
    }
}

//! Host names, ports and URLs, as far as the inventory writes them.

use std::net::{IpAddr, Ipv6Addr};

/// RFC 1123 §2.1, with RFC 952's lengths; a last label of digits would be read as an address.
pub(super) fn is_hostname(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= 253
        && text.split('.').all(label)
        && !text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn is_host(text: &str) -> bool {
    is_hostname(text) || text.parse::<IpAddr>().is_ok()
}

pub(super) fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0) && !text.starts_with(['+', '0'])
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` to host and port.
pub(super) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (
            host,
            if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':')?)
            },
        )
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
        if !is_host(host) {
            return None;
        }
        (host, port)
    };
    match port {
        Some(port) if is_port(port) => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
        None => Some((host, None)),
    }
}

/// Host and port of a URL that [`URL`] accepts.
pub(super) fn parse_url(text: &str) -> Option<(&str, Option<u16>)> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    if !path.is_empty() && !all(path, "/._-:%&=?+,~@") {
        return None;
    }
    // An underscore is no host name, but it is how upstreams are often called.
    match split_host_port(authority) {
        Some(found) => Some(found),
        None if all(authority, "_.-") && starts_alnum(authority) && authority.contains('_') => Some((authority, None)),
        None => None,
    }
}

pub(super) fn all(text: &str, extra: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

pub(super) fn starts_alnum(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

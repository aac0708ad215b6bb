//! `nginx`: upstreams, servers and the operator's own files.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::extra_files;
use crate::inventory::context::{At, Context, join, quote};
use crate::inventory::grammar::{PATH, SERVER_NAME, URL, WORD};
use crate::inventory::host_port::split_host_port;
use crate::inventory::model::{BalanceMethod, Listen, Nginx, Server, Upstream};
use crate::inventory::node::{Value, YamlNode};
use crate::inventory::suggest;
use crate::inventory::table::Table;

const SERVER_KEYS: &[&str] = &[
    "listen",
    "server_name",
    "proxy_pass",
    "tls",
    "certificate",
    "certificate_key",
];

/// `nginx`; `None` keeps it as it is.
pub(super) fn read(inventory: &Table<'_>) -> Option<Nginx> {
    let table = inventory.table("nginx", &["upstreams", "servers", "extra_files"])?;
    let mut upstreams = BTreeMap::new();
    let mut names = Vec::new();
    for (name, node) in table.free("upstreams").unwrap_or_default() {
        if let Err(hint) = WORD.check(name.value) {
            table
                .context
                .error_hint(name.span, format!("{} is not {}", quote(name.value), WORD.name), hint);
        }
        names.push(name.value);
        if let Some(upstream) = upstream(table.context, node) {
            upstreams.insert(name.value.to_owned(), upstream);
        }
    }
    let mut servers: Vec<At<Server>> = Vec::new();
    if let Some(items) = table.list("servers") {
        for node in items.value {
            if let Some(server) = server(table.context, node, &names) {
                clash(table.context, &servers, &server);
                servers.push(server);
            }
        }
    }
    let servers = servers.into_iter().map(|s| s.value).collect();
    Some(Nginx {
        upstreams,
        servers,
        extra_files: extra_files::read(&table),
    })
}

fn upstream(context: &Context, node: &YamlNode) -> Option<Upstream> {
    let table = Table::new(context, node, "an upstream", &["servers", "method", "keepalive"])?;
    table.need("servers", "as in servers: [\"10.0.0.11:8080\"]")?;
    let methods = [
        ("round_robin", BalanceMethod::RoundRobin),
        ("least_conn", BalanceMethod::LeastConn),
        ("ip_hash", BalanceMethod::IpHash),
    ];
    let method = table.choice("method", &methods).map(|m| m.value).unwrap_or_default();
    let keepalive = table
        .integer("keepalive", 1..=65535)
        .and_then(|k| u16::try_from(k.value).ok());
    let items = table.list("servers")?;
    if items.value.is_empty() {
        context.error(items.span, "an upstream needs at least one server");
    }
    let mut servers: Vec<String> = Vec::new();
    let mut able = false;
    for node in items.value {
        let Some(text) = context.text(node, "a server of an upstream") else {
            continue;
        };
        if let Err((why, hint)) = upstream_server(text.value, method) {
            context.error_hint(text.span, why, hint);
            continue;
        }
        able |= !text.value.split(' ').any(|word| word == "backup" || word == "down");
        servers.push(text.value.to_owned());
    }
    if !able && !servers.is_empty() {
        context.error_hint(
            items.span,
            "every server of the upstream is backup or down",
            "nginx needs one that serves",
        );
    }
    Some(Upstream {
        servers,
        method,
        keepalive,
    })
}

/// nginx's `server` in an `upstream` (ngx_http_upstream_module): an address and parameters of the open-source nginx.
fn upstream_server(text: &str, method: BalanceMethod) -> Result<(), (String, String)> {
    let mut words = text.split(' ');
    let address = words.next().unwrap_or_default();
    let unix = address
        .strip_prefix("unix:")
        .is_some_and(|path| PATH.check(path).is_ok());
    // `host:port`; `split_host_port` would take `2001:db8::1` apart at its first colon.
    if !unix && split_host_port(address).is_none() {
        let hint = "host:port, an address:port such as 10.0.0.11:8080 or [2001:db8::1]:80, or unix:/path";
        return Err((
            format!("{} is not the address of a server", quote(address)),
            hint.into(),
        ));
    }
    let number = |value: &str| value.parse::<u32>().is_ok() && value.bytes().all(|b| b.is_ascii_digit());
    let time = |value: &str| number(value.strip_suffix(['s', 'm', 'h']).unwrap_or(value));
    const PARAMETERS: &[&str] = &["weight", "max_conns", "max_fails", "fail_timeout", "backup", "down"];
    for word in words {
        let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
        let ok = match (name, value) {
            ("weight", Some(value)) => number(value) && value != "0",
            ("max_conns" | "max_fails", Some(value)) => number(value),
            ("fail_timeout", Some(value)) => time(value),
            ("backup", None) if method == BalanceMethod::IpHash => {
                let why = "backup does not go with ip_hash".to_owned();
                return Err((
                    why,
                    "nginx refuses it: choose another method, or mark the server down".into(),
                ));
            }
            ("backup" | "down", None) => true,
            _ => false,
        };
        if !ok {
            let hint = match suggest::nearest(name, PARAMETERS.iter().copied()) {
                Some(near) if near != name => format!("did you mean {near}?"),
                _ => "weight=N, max_conns=N, max_fails=N, fail_timeout=TIME, backup or down, one blank between".into(),
            };
            return Err((
                format!("{} is not a parameter of an upstream server", quote(word)),
                hint,
            ));
        }
    }
    Ok(())
}

fn server(context: &Context, node: &YamlNode, upstreams: &[&str]) -> Option<At<Server>> {
    let table = Table::new(context, node, "a server", SERVER_KEYS)?;
    let listen = table
        .need("listen", "a port, as in listen: 80")
        .and_then(|n| listen(context, n));
    table.need("proxy_pass", "the name of an upstream, or a whole http:// URL");
    let proxy_pass = table.word("proxy_pass", &URL_OR_UPSTREAM).filter(|target| {
        let known = target.value.contains("://") || upstreams.contains(&target.value.as_str());
        if !known {
            let hint = match suggest::nearest(&target.value, upstreams.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if upstreams.is_empty() => "the inventory has no upstream; a URL starts with http://".into(),
                None => format!(
                    "there is {}; a URL starts with http://",
                    join(upstreams.iter().copied(), "and")
                ),
            };
            context.error_hint(target.span, format!("no upstream is called {}", target.value), hint);
        }
        known
    });
    let server_name = names(&table);
    let tls = table.flag("tls");
    let certificate = table.word("certificate", &PATH);
    let certificate_key = table.word("certificate_key", &PATH);
    match &tls {
        Some(tls) if tls.value => {
            for key in ["certificate", "certificate_key"] {
                if table.get(key).is_none() {
                    context.error_hint(
                        tls.span,
                        format!("tls without {key}"),
                        "the path of the PEM file on the hosts",
                    );
                }
            }
        }
        _ => {
            for written in [&certificate, &certificate_key].into_iter().flatten() {
                context.error_hint(written.span, "a certificate without tls", "write tls: true as well");
            }
        }
    }
    let span = table.get("listen").map_or(table.span, |n| n.span);
    let value = Server {
        listen: listen?,
        server_name,
        proxy_pass: proxy_pass?.value,
        tls: tls.is_some_and(|t| t.value),
        certificate: certificate.map(|c| c.value),
        certificate_key: certificate_key.map(|c| c.value),
    };
    Some(At { value, span })
}

/// Checked further once it is known which of the two it is.
const URL_OR_UPSTREAM: crate::inventory::grammar::Grammar = crate::inventory::grammar::Grammar::either(
    "the name of an upstream or an http URL",
    "the name of an upstream, or http:// or https://, host, optional port and path, without a password",
    |t| WORD.check(t).is_ok() || URL.check(t).is_ok(),
);

/// `80`, `192.168.0.200:80`, `[::]:80`.
fn listen(context: &Context, node: &YamlNode) -> Option<Listen> {
    let text = context.text(node, "listen")?;
    let port = |p: &str| {
        p.parse::<u16>()
            .ok()
            .filter(|n| *n > 0 && p.bytes().all(|b| b.is_ascii_digit()))
    };
    if let Some(port) = port(text.value) {
        return Some(Listen { address: None, port });
    }
    if let Ok(socket) = text.value.parse::<SocketAddr>()
        && socket.port() > 0
    {
        let address = Some(socket.ip()).filter(|ip| *ip != IpAddr::from([0, 0, 0, 0]));
        return Some(Listen {
            address,
            port: socket.port(),
        });
    }
    if let Some(port) = text.value.strip_prefix("*:").and_then(port) {
        return Some(Listen { address: None, port });
    }
    let hint = "a port from 1 to 65535, or address:port, as in 80, 192.168.0.200:80 or [::]:80";
    context.error_hint(
        text.span,
        format!("listen must be a port or address:port, not {}", quote(text.value)),
        hint,
    );
    None
}

/// One name or a list of them.
fn names(server: &Table<'_>) -> Vec<String> {
    match server.get("server_name").map(|n| &n.value) {
        None => Vec::new(),
        Some(Value::List(_)) => {
            let names = server.words("server_name", &SERVER_NAME);
            names
                .map(|names| names.value.into_iter().map(|n| n.value).collect())
                .unwrap_or_default()
        }
        Some(_) => server
            .word("server_name", &SERVER_NAME)
            .map(|n| vec![n.value])
            .unwrap_or_default(),
    }
}

/// nginx would only warn and ignore the second server.
fn clash(context: &Context, servers: &[At<Server>], new: &At<Server>) {
    for old in servers.iter().filter(|s| s.value.listen == new.value.listen) {
        let (a, b) = (&old.value, &new.value);
        if a.tls != b.tls {
            let message = format!("port {} with and without tls", b.listen.port);
            context.error_hint(new.span, message, "one of the two needs another port");
        } else if a.server_name.is_empty() && b.server_name.is_empty() {
            let message = format!("two servers for any name on port {}", b.listen.port);
            context.error_hint(new.span, message, "give them different server_name or listen");
        } else if let Some(name) = b.server_name.iter().find(|n| a.server_name.contains(n)) {
            let message = format!("two servers for {name} on port {}", b.listen.port);
            context.error_hint(new.span, message, "nginx would ignore the second one");
        }
    }
}

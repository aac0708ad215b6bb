//! Step 7: nginx as load balancer.
//!
//! Every rendered server listens on the wildcard **and** names the pair's addresses literally. nginx picks the server
//! by the most specific listen address first, so a default server of the distribution's `nginx.conf` (which has the
//! `default_server` flag on the wildcard) never answers for a VIP, without editing a file of the package. Beside a
//! wildcard on the same port the literal addresses are not bound, so the standby, which has no VIP, starts as well.

use std::net::IpAddr;

use serde::Serialize;

use super::build::{Build, TextFile};
use super::error::DesiredError;
use super::escape::Syntax;
use crate::inventory::{BalanceMethod, Inventory, Nginx, Server};
use crate::state::{Facts, HEALTH_PATH, NODE_HEADER, NginxLayout, Reaction, Stage, Validator};

const SITE: &str = "etc/nginx/conf.d/00-hapair.conf.tera";
const DEFAULT: &str = "etc/nginx/conf.d/default.conf.tera";
const SYSCTL: &str = "etc/sysctl.d/90-hapair.conf.tera";
const CONF_D: &str = "/etc/nginx/conf.d";
const SITE_FILE: &str = "00-hapair.conf";
const UNIT: &str = "nginx.service";

/// Where the health location is served when no server of the inventory can serve it: a port that SELinux's policy
/// lets nginx listen on, seen by nobody outside.
const HEALTH_PORT: u16 = 8008;

#[derive(Debug, Serialize)]
struct View {
    node: String,
    node_header: &'static str,
    health_path: &'static str,
    health_listen: Option<String>,
    upgrade: bool,
    upstreams: Vec<UpstreamView>,
    servers: Vec<ServerView>,
}

#[derive(Debug, Serialize)]
struct UpstreamView {
    name: String,
    method: Option<&'static str>,
    servers: Vec<String>,
    keepalive: Option<u16>,
}

#[derive(Debug, Serialize)]
struct ServerView {
    listen: Vec<String>,
    server_name: Vec<String>,
    tls: bool,
    certificate: String,
    certificate_key: String,
    proxy_pass: String,
}

pub(super) fn add(build: &mut Build) -> Result<(), DesiredError> {
    let Some(nginx) = &build.inventory.nginx else {
        return Ok(());
    };
    add_nonlocal_bind(build, nginx)?;

    let view = view(build, nginx)?;
    let text = build.render(SITE, &view)?;
    push_configuration(build, SITE_FILE, text);
    for file in &nginx.extra_files {
        let reserved = [SITE_FILE, "default.conf"].contains(&file.name.as_str());
        if reserved || file.name.contains('/') || file.name.starts_with('.') || !file.name.ends_with(".conf") {
            return Err(build.impossible(
                format!("extra file '{}' cannot be placed in {CONF_D}", file.name),
                "give it a name of its own that ends in .conf",
            ));
        }
        build.guard(Syntax::ShellWord, "nginx.extra_files", &file.name)?;
        push_configuration(build, &file.name, file.content.clone());
    }
    if layout(build.inventory, build.facts) == NginxLayout::NginxOrg {
        let text = build.render(DEFAULT, &serde_json::json!({}))?;
        push_configuration(build, "default.conf", text);
    }
    if nginx.servers.is_empty() {
        build.note(format!(
            "nginx.servers is empty: the answer of the VIP carries no {NODE_HEADER} header unless your own servers \
             add it, and then hapair cannot tell which host answered"
        ));
    }
    let distribution = layout(build.inventory, build.facts) == NginxLayout::Distribution;
    if nginx.servers.is_empty() && distribution {
        build.note(
            "the default server in the distribution's nginx.conf answers for the VIP unless your own servers listen on \
             that address literally, or are named by server_name",
        );
    }
    build.push_running(Stage::Nginx, UNIT);
    Ok(())
}

/// A file of nginx's configuration, which nginx itself checks and reads again.
fn push_configuration(build: &mut Build, name: &str, content: String) {
    let file = TextFile {
        path: &format!("{CONF_D}/{name}"),
        content,
        mode: 0o644,
        validator: Some(Validator::Nginx),
        reactions: vec![Reaction::Reload { unit: UNIT.to_owned() }],
    };
    build.push_file(Stage::Nginx, file);
}

/// As observed; before nginx is installed, as the repository it will come from makes it.
fn layout(inventory: &Inventory, facts: &Facts) -> NginxLayout {
    facts.nginx_layout.unwrap_or(match inventory.repositories.nginx {
        Some(_) => NginxLayout::NginxOrg,
        None => NginxLayout::Distribution,
    })
}

/// The URL of the node-local health location, as the host itself reaches it; `None` when hapair renders no nginx.
pub(super) fn health_url(inventory: &Inventory) -> Option<String> {
    let nginx = inventory.nginx.as_ref()?;
    let (address, port) = match plain_wildcard(nginx) {
        Some(server) => ("127.0.0.1", server.listen.port),
        None => ("127.0.0.1", HEALTH_PORT),
    };
    Some(match port {
        80 => format!("http://{address}{HEALTH_PATH}"),
        port => format!("http://{address}:{port}{HEALTH_PATH}"),
    })
}

/// The first server that loopback reaches without TLS.
fn plain_wildcard(nginx: &Nginx) -> Option<&Server> {
    nginx.servers.iter().find(|s| !s.tls && s.listen.address.is_none())
}

fn view(build: &Build, nginx: &Nginx) -> Result<View, DesiredError> {
    let mut upstreams = Vec::new();
    for (name, upstream) in &nginx.upstreams {
        build.guard(Syntax::NginxWord, "nginx.upstreams", name)?;
        for server in &upstream.servers {
            build.guard(Syntax::NginxWords, "nginx.upstreams.servers", server)?;
        }
        upstreams.push(UpstreamView {
            name: name.clone(),
            method: match upstream.method {
                BalanceMethod::RoundRobin => None,
                BalanceMethod::LeastConn => Some("least_conn"),
                BalanceMethod::IpHash => Some("ip_hash"),
            },
            servers: upstream.servers.clone(),
            keepalive: upstream.keepalive,
        });
    }
    let own = own_addresses(build);
    let mut servers = Vec::new();
    for server in &nginx.servers {
        servers.push(server_view(build, nginx, server, &own)?);
    }
    Ok(View {
        node: build.host.name.clone(),
        node_header: NODE_HEADER,
        health_path: HEALTH_PATH,
        health_listen: plain_wildcard(nginx)
            .is_none()
            .then(|| format!("127.0.0.1:{HEALTH_PORT}")),
        upgrade: !servers.is_empty(),
        upstreams,
        servers,
    })
}

fn server_view(build: &Build, nginx: &Nginx, server: &Server, own: &[IpAddr]) -> Result<ServerView, DesiredError> {
    let path = |what: &str, value: &Option<String>| -> Result<String, DesiredError> {
        let Some(value) = value else {
            if server.tls {
                return Err(build.impossible(
                    format!("the server on port {} has tls and no {what}", server.listen.port),
                    "write both `certificate` and `certificate_key`, paths on the host",
                ));
            }
            return Ok(String::new());
        };
        build.guard(Syntax::NginxWord, &format!("nginx.servers.{what}"), value)?;
        Ok(value.clone())
    };
    for name in &server.server_name {
        build.guard(Syntax::NginxWord, "nginx.servers.server_name", name)?;
    }
    build.guard(Syntax::NginxWord, "nginx.servers.proxy_pass", &server.proxy_pass)?;
    let proxy_pass = if nginx.upstreams.contains_key(&server.proxy_pass) {
        format!("http://{}", server.proxy_pass)
    } else {
        server.proxy_pass.clone()
    };
    let port = server.listen.port;
    let listen = match server.listen.address {
        Some(address) => vec![socket(address, port)],
        None => {
            let mut listen = vec![port.to_string()];
            if own.iter().any(IpAddr::is_ipv6) {
                listen.push(format!("[::]:{port}"));
            }
            listen.extend(own.iter().map(|a| socket(*a, port)));
            listen
        }
    };
    Ok(ServerView {
        listen,
        server_name: server.server_name.clone(),
        tls: server.tls,
        certificate: path("certificate", &server.certificate)?,
        certificate_key: path("certificate_key", &server.certificate_key)?,
        proxy_pass,
    })
}

/// The addresses a client of the pair may have connected to: the VIPs, the host's own, loopback.
fn own_addresses(build: &Build) -> Vec<IpAddr> {
    let instances = build.inventory.vrrp.iter().flat_map(|v| &v.instances);
    let mut all: Vec<IpAddr> = instances
        .flat_map(|i| i.virtual_ipaddress.iter().chain(&i.virtual_ipaddress_excluded))
        .map(|v| v.address.addr())
        .collect();
    if let Some(network) = &build.host.network {
        all.push(network.address.addr().into());
        all.extend(network.ipv6.as_ref().map(|v6| IpAddr::from(v6.address.addr())));
    }
    let mut seen = Vec::new();
    // Link-local addresses would need a scope; nobody asks a load balancer there.
    all.retain(|a| {
        let scoped = matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let fresh = !seen.contains(a);
        seen.push(*a);
        fresh && !scoped
    });
    let v6 = all.iter().any(IpAddr::is_ipv6) || welcomes_on_ipv6(build);
    all.push(IpAddr::from([127, 0, 0, 1]));
    if v6 {
        all.push(IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
    }
    all
}

/// The distribution's `nginx.conf` has its welcome page on `[::]:80` too, and `localhost` is `::1` first: a check of
/// `http://localhost/` would ask that page. Where the host has no IPv6 at all, nginx could not listen there.
fn welcomes_on_ipv6(build: &Build) -> bool {
    let mut addresses = build.facts.interfaces.iter().flat_map(|i| &i.addresses).peekable();
    let has_ipv6 = addresses.peek().is_none() || addresses.any(|a| a.contains(':'));
    layout(build.inventory, build.facts) == NginxLayout::Distribution && has_ipv6
}

fn socket(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// A server that listens on a VIP alone must be able to start where the VIP is not.
///
/// The file is put in place before packages are installed: its reaction runs at the end of that stage, and nginx is
/// checked and started in a later one.
fn add_nonlocal_bind(build: &mut Build, nginx: &Nginx) -> Result<(), DesiredError> {
    let vips: Vec<IpAddr> = build.inventory.vips().map(|v| v.address.addr()).collect();
    let literal: Vec<IpAddr> = nginx.servers.iter().filter_map(|s| s.listen.address).collect();
    let ipv4 = literal.iter().any(|a| a.is_ipv4() && vips.contains(a));
    let ipv6 = literal.iter().any(|a| a.is_ipv6() && vips.contains(a));
    if !ipv4 && !ipv6 {
        return Ok(());
    }
    if ipv6 && build.release() == 7 {
        return Err(build.impossible(
            "the kernel of release 7 cannot listen on an IPv6 address it does not have",
            "let the server listen on the port alone: it then answers on every address",
        ));
    }
    let text = build.render(SYSCTL, &serde_json::json!({"ipv4": ipv4, "ipv6": ipv6}))?;
    let apply = vec![Reaction::Restart {
        unit: "systemd-sysctl.service".to_owned(),
    }];
    build.push_file(
        Stage::Packages,
        TextFile {
            path: "/etc/sysctl.d/90-hapair.conf",
            content: text,
            mode: 0o644,
            validator: None,
            reactions: apply,
        },
    );
    Ok(())
}

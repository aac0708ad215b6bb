//! What surrounds the twins: resolver, package mirror and upstreams, in the controller's namespace.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::error::{Doing, LabError};
use super::image::Image;
use super::paths::{self, Paths};
use super::spec::LabSpec;
use super::{network, process};

/// Part of the lab that the controller's services run as.
pub(super) const PART: &str = "controller";

const SCRIPT: &str = include_str!("files/controller.sh");
const MIRROR_NAMES: &str = include_str!("files/mirror-names");

/// Starts the services and waits until they answer.
pub(super) fn start(paths: &Paths, spec: &LabSpec, image: &Image) -> Result<(), LabError> {
    let dir = paths.controller();
    std::fs::create_dir_all(&dir).at("create", &dir)?;
    paths::write(&dir.join("conf/dnsmasq.conf"), 0o644, resolver_conf(spec))?;
    paths::write(&dir.join("conf/nginx.conf"), 0o644, nginx_conf(spec))?;
    let script = dir.join("controller.sh");
    paths::write(&script, 0o755, SCRIPT)?;
    let mut command = process::supervisor(&script, &dir, &image.lower());
    command.env("LAB_IMAGE", image.extras());
    process::Place::new()
        .part(&paths.name, PART)?
        .namespace(&paths.controller_ns())?
        .own_session()
        .apply(&mut command);
    process::detach(command, &dir.join("log"))?;
    let address = spec.service_address();
    network::in_namespace(&paths.controller_ns(), || {
        for port in [53, 80, 443] {
            wait_for(SocketAddr::new(address.into(), port), Duration::from_secs(20)).map_err(|e| {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                LabError::new(format!("the lab's own services do not answer at {address} port {port}"))
                    .because(e)
                    .hint(format!("they said: {}", log.trim()))
            })?;
        }
        Ok(())
    })
}

fn wait_for(address: SocketAddr, patience: Duration) -> std::io::Result<()> {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(e) if start.elapsed() > patience => return Err(e),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Knows the mirrors' and upstreams' names; everything else does not exist, and is said so at once.
fn resolver_conf(spec: &LabSpec) -> String {
    let address = spec.service_address();
    let mut text = String::from(
        "# The lab's resolver. No upstream server, no hosts file: an unknown name gets NXDOMAIN without delay.\n\
         user=root\ngroup=root\nno-resolv\nno-poll\nno-hosts\nno-dhcp-interface=*\nlocal-ttl=60\ncache-size=0\n\
         log-facility=-\npid-file=/run/dnsmasq.pid\naddress=/#/\n",
    );
    let names = MIRROR_NAMES
        .lines()
        .chain(spec.upstream_names.iter().map(|(name, _)| name.as_str()));
    for name in names.collect::<BTreeSet<_>>() {
        let _ = writeln!(text, "host-record={name},{address}");
    }
    text
}

fn bracketed(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Mirrors on 80 and 443 by name; upstreams wherever the inventory has them.
fn nginx_conf(spec: &LabSpec) -> String {
    let mut text = String::from(
        "# The lab's mirrors and upstreams.\n\
         daemon off;\nuser root;\nworker_processes 1;\npid /run/nginx.pid;\nerror_log stderr notice;\n\
         events { worker_connections 1024; }\nhttp {\n\
         include /srv/tools/mime.types;\ndefault_type application/octet-stream;\naccess_log off;\nsendfile on;\n\
         keepalive_timeout 15;\nserver_names_hash_bucket_size 128;\n",
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{kind}_temp_path /srv/tmp/{kind};");
    }
    text.push_str("ssl_certificate /srv/tools/tls/server.crt;\nssl_certificate_key /srv/tools/tls/server.key;\n");
    for name in MIRROR_NAMES.lines() {
        let _ = writeln!(
            text,
            "server {{ listen 80; listen 443 ssl; server_name {name}; root /srv/mirror/{name}; autoindex on; }}"
        );
    }
    let service = IpAddr::V4(spec.service_address());
    let named = spec.upstream_names.iter().map(|(_, port)| (service, *port));
    for (address, port) in spec.upstreams.iter().copied().chain(named).collect::<BTreeSet<_>>() {
        // On the mirrors' own address only the name can tell an upstream from a mirror.
        let at = bracketed(&address);
        let listen = if address == service && (port == 80 || port == 443) {
            format!("listen {port} default_server")
        } else {
            format!("listen {at}:{port}")
        };
        let _ = writeln!(
            text,
            "server {{ {listen}; server_name _; location / {{ add_header X-Lab-Upstream {at}:{port} always; \
             default_type text/plain; return 200 \"lab upstream {at}:{port}\\n\"; }} }}"
        );
    }
    text.push_str("}\n");
    text
}

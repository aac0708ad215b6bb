//! A small HTTP/1.1 GET, for when the controller cannot reach the VIP itself.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::host::os::error::Error;
use crate::state::{Reply, http};

/// Fetches `url` within `timeout_ms`.
pub fn fetch(url: &str, timeout_ms: u64) -> Reply {
    match get(url, Duration::from_millis(timeout_ms)) {
        Ok((status, node)) => Reply::Fetched {
            status,
            node,
            error: String::new(),
        },
        Err(error) => Reply::Fetched {
            status: 0,
            node: String::new(),
            error,
        },
    }
}

/// Connects to `address:port` within `timeout_ms`, and closes.
///
/// # Errors
/// Nobody takes the connection, or it is not an address.
pub fn connect(address: &str, timeout_ms: u64) -> Result<(), Error> {
    let socket: SocketAddr = address
        .parse()
        .map_err(|_| Error::new(format!("not an address and port: {address}")))?;
    match TcpStream::connect_timeout(&socket, Duration::from_millis(timeout_ms.max(1))) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::new(format!("no connection to {address}")).because(e)),
    }
}

/// `http://HOST[:PORT]/PATH` with an IP literal or `localhost`: names are not looked up (a static binary must not load
/// the host's NSS).
fn parse(url: &str) -> Result<(Vec<SocketAddr>, String, String), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("not an http:// URL: {url}"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |i| rest.split_at(i));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && !port.contains(']') && (host.ends_with(']') || !host.contains(':')) =>
        {
            (host, port.parse::<u16>().map_err(|_| format!("bad port in {url}"))?)
        }
        _ => (authority, 80),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<IpAddr> = if bare == "localhost" {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
    } else {
        vec![bare.parse().map_err(|_| format!("not an address: {bare}"))?]
    };
    let sockets = addresses.into_iter().map(|a| SocketAddr::new(a, port)).collect();
    Ok((sockets, authority.to_owned(), path.to_owned()))
}

fn get(url: &str, limit: Duration) -> Result<(u16, String), String> {
    let deadline = Instant::now() + limit;
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err("no answer in time".to_owned())
        } else {
            Ok(left)
        }
    };
    let (addresses, authority, path) = parse(url)?;
    let mut refusal = String::new();
    let mut stream = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, left()?) {
            Ok(connected) => {
                stream = Some(connected);
                break;
            }
            Err(e) if refusal.is_empty() => refusal = e.to_string(),
            Err(_) => {}
        }
    }
    let Some(mut stream) = stream else { return Err(refusal) };
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: hapair\r\nConnection: close\r\n\r\n");
    let limit = |e: std::io::Error| e.to_string();
    stream.set_write_timeout(Some(left()?)).map_err(limit)?;
    stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut data = Vec::new();
    let mut buffer = [0_u8; 4096];
    loop {
        let head = http::head(&data).map_err(|why| format!("not an HTTP answer: {why}"))?;
        if let Some(head) = head {
            return Ok((head.status, head.node.unwrap_or_default()));
        }
        if data.len() > 65_536 {
            return Err("the answer's header is too long".to_owned());
        }
        stream.set_read_timeout(Some(left()?)).map_err(|e| e.to_string())?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err("the connection was closed before an answer".to_owned()),
            Ok(n) => data.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Err("no answer in time".to_owned());
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn urls() {
        assert_eq!(
            parse("http://10.0.0.1/x?y").unwrap().0,
            ["10.0.0.1:80".parse().unwrap()]
        );
        assert_eq!(
            parse("http://[fd00::1]:8080").unwrap().0,
            ["[fd00::1]:8080".parse().unwrap()]
        );
        assert_eq!(parse("http://localhost/").unwrap().0.len(), 2);
        assert!(parse("https://10.0.0.1/").is_err() && parse("http://example.org/").is_err());
    }

    #[test]
    fn status_and_own_header() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut asked = [0_u8; 1024];
            let n = stream.read(&mut asked).unwrap();
            stream
                .write_all(b"HTTP/1.1 503 Busy\r\nx-hapair-NODE: nginx-backup\r\n\r\n")
                .unwrap();
            String::from_utf8_lossy(&asked[..n]).into_owned()
        });
        let Reply::Fetched { status, node, error } = fetch(&format!("http://{address}/health"), 20_000) else {
            panic!()
        };
        assert_eq!((status, node.as_str(), error.as_str()), (503, "nginx-backup", ""));
        assert!(answering.join().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
    }

    #[test]
    fn a_connection_is_taken_or_not() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        assert!(connect(&address, 20_000).is_ok());
        drop(server);
        let error = connect(&address, 20_000).unwrap_err();
        assert!(
            error.in_full().starts_with(&format!("no connection to {address}: ")),
            "{error}"
        );
        assert!(connect("localhost:80", 1).is_err());
    }

    #[test]
    fn a_silent_server_is_given_up() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let Reply::Fetched { status, error, .. } = fetch(&url, 50) else {
            panic!()
        };
        assert!(status == 0 && error == "no answer in time", "{error}");
    }
}

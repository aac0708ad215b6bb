//! `GET /metrics` on a TCP address, for Prometheus. Threads of its own, so that no client holds up the packets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::control::Asker;
use crate::agent::os::deadline_stream::WithDeadline;

/// Timeout for a client to send its request, and for it to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Clients at once; more are sent away.
const CLIENTS: usize = 8;
/// Longest request.
const REQUEST: usize = 8192;
const STACK: usize = 128 * 1024;

/// Listens and serves for as long as the process lives. Returns the address, whose port may have been 0.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn serve(address: SocketAddr, asker: Asker) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let clients = Arc::new(AtomicUsize::new(0));
    let asker = Arc::new(asker);
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            for client in listener.incoming() {
                match client {
                    Ok(client) => admit(client, &clients, &asker),
                    // No descriptors left: waiting is all there is to do.
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
    Ok(address)
}

fn admit(client: TcpStream, clients: &Arc<AtomicUsize>, asker: &Arc<Asker>) {
    if clients.fetch_add(1, Ordering::SeqCst) >= CLIENTS {
        clients.fetch_sub(1, Ordering::SeqCst);
        // Best effort: what does not fit into an empty send buffer is not worth waiting for.
        drop(client.set_nonblocking(true));
        drop((&client).write_all(&response("503 Service Unavailable", "", "too many clients\n")));
        return;
    }
    let (own, asker) = (Arc::clone(clients), Arc::clone(asker));
    let spawned = std::thread::Builder::new()
        .name("scrape".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            drop(answer(&client, &|| asker.ask("metrics")));
            own.fetch_sub(1, Ordering::SeqCst);
        });
    if spawned.is_err() {
        clients.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answer(client: &TcpStream, metrics: &dyn Fn() -> io::Result<String>) -> io::Result<()> {
    let request = request(WithDeadline::new(client, PATIENCE))?;
    WithDeadline::new(client, PATIENCE).write_all(&respond(&request, metrics))
}

/// Everything up to the empty line.
fn request(mut client: impl Read) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") && !request.windows(2).any(|w| w == b"\n\n") {
        if request.len() > REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match client.read(&mut part)? {
            0 => break,
            n => request.extend_from_slice(&part[..n]),
        }
    }
    Ok(request)
}

fn respond(request: &[u8], metrics: &dyn Fn() -> io::Result<String>) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let words: Vec<&str> = text.lines().next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = words[..] else {
        return response("400 Bad Request", "", "not HTTP\n");
    };
    if !version.starts_with("HTTP/1.") {
        return response("400 Bad Request", "", "not HTTP/1\n");
    }
    if target.split('?').next() != Some("/metrics") {
        return response("404 Not Found", "", "there is only /metrics\n");
    }
    let mut whole = match (method, metrics()) {
        ("GET" | "HEAD", Ok(body)) => response("200 OK", "", &body),
        ("GET" | "HEAD", Err(_)) => response("503 Service Unavailable", "", "the daemon does not answer\n"),
        _ => response("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "only GET\n"),
    };
    if method == "HEAD" {
        let head = whole.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        whole.truncate(head);
    }
    whole
}

fn response(status: &str, more: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n{more}\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> String {
        let all = respond(request.as_bytes(), &|| Ok("hapair_x 1\n".to_owned()));
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn only_get_of_metrics_is_answered() {
        let good = status("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n") && good.ends_with("\r\nConnection: close\r\n\r\nhapair_x 1\n"));
        assert!(status("GET /metrics?x=1 HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200"));
        let head = status("HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(head.contains("Content-Length: 11\r\n") && head.ends_with("\r\n\r\n"));
        assert!(status("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(status("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(status("\r\n").starts_with("HTTP/1.1 400"));
        assert!(status("GET /metrics SPDY/3\r\n\r\n").starts_with("HTTP/1.1 400"));
        let silent = respond(
            b"GET /metrics HTTP/1.1\r\n\r\n",
            &|| Err(io::ErrorKind::TimedOut.into()),
        );
        assert!(silent.starts_with(b"HTTP/1.1 503"));
    }
}

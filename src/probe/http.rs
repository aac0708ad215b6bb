//! One HTTP/1.1 GET, as small as a probe can be, and robust against whatever answers.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::timeline::FailKind;
use crate::state::http::head;

/// A response head larger than this is garbage.
const MAX_HEAD: usize = 32 * 1024;
/// So much of a body is read; a longer one counts as whole.
const MAX_BODY: u64 = 64 * 1024;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, 100 to 599.
    pub status: u16,
    /// Value of [`crate::state::NODE_HEADER`].
    pub node: Option<String>,
    /// From the start of connecting to the last byte read.
    pub took: Duration,
}

/// Why nothing usable came back.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody listens on the port.
    #[error("{0}: connection refused")]
    Refused(SocketAddr),
    /// No way to the address.
    #[error("{addr}: unreachable: {source}")]
    Unreachable {
        /// Whom we asked.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// No whole answer in time.
    #[error("{addr}: no answer within {} ms", limit.as_millis())]
    Timeout {
        /// Whom we asked.
        addr: SocketAddr,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke in the middle.
    #[error("{addr}: connection broke: {what}")]
    Broken {
        /// Whom we asked.
        addr: SocketAddr,
        /// Where.
        what: String,
    },
    /// The answer is not HTTP.
    #[error("{addr}: not an HTTP answer: {what}")]
    Garbage {
        /// Whom we asked.
        addr: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
    /// Anything else.
    #[error("{addr}: {source}")]
    Other {
        /// Whom we asked.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ProbeError {
    /// The kind that timelines keep.
    pub fn kind(&self) -> FailKind {
        match self {
            ProbeError::Refused(_) => FailKind::Refused,
            ProbeError::Unreachable { .. } => FailKind::Unreachable,
            ProbeError::Timeout { .. } => FailKind::Timeout,
            ProbeError::Broken { .. } => FailKind::Broken,
            ProbeError::Garbage { .. } => FailKind::Garbage,
            ProbeError::Other { .. } => FailKind::Other,
        }
    }
}

/// Asks once: `GET path` on a new connection, closed afterwards. The whole exchange takes at most `timeout`.
///
/// Any well-formed answer is an [`Answer`], also one with status 500.
///
/// # Errors
/// [`ProbeError`]; a body cut short of its `Content-Length` is [`ProbeError::Broken`].
pub async fn http_once(addr: SocketAddr, host: &str, path: &str, timeout: Duration) -> Result<Answer, ProbeError> {
    match tokio::time::timeout(timeout, exchange(addr, host, path)).await {
        Ok(result) => result,
        Err(_) => Err(ProbeError::Timeout { addr, limit: timeout }),
    }
}

/// Connects once and closes; how long the connect took.
///
/// # Errors
/// [`ProbeError`].
pub async fn tcp_once(addr: SocketAddr, timeout: Duration) -> Result<Duration, ProbeError> {
    let start = Instant::now();
    match tokio::time::timeout(timeout, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => Ok(start.elapsed()),
        Ok(Err(error)) => Err(connect_error(addr, error)),
        Err(_) => Err(ProbeError::Timeout { addr, limit: timeout }),
    }
}

async fn exchange(addr: SocketAddr, host: &str, path: &str) -> Result<Answer, ProbeError> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr).await.map_err(|e| connect_error(addr, e))?;
    let broken = |what: &str, e: io::Error| ProbeError::Broken {
        addr,
        what: format!("{what}: {e}"),
    };
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hapair-probe\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| broken("while asking", e))?;
    let mut data = Vec::with_capacity(2048);
    let head = loop {
        let head = head(&data).map_err(|what| ProbeError::Garbage {
            addr,
            what: what.into(),
        })?;
        if let Some(head) = head {
            break head;
        }
        if data.len() > MAX_HEAD {
            return Err(ProbeError::Garbage {
                addr,
                what: "the head has no end".into(),
            });
        }
        let read = stream
            .read_buf(&mut data)
            .await
            .map_err(|e| broken("while reading the head", e))?;
        if read == 0 {
            let what = match data.is_empty() {
                true => "closed without an answer",
                false => "closed inside the head",
            };
            return Err(ProbeError::Broken {
                addr,
                what: what.into(),
            });
        }
    };
    let mut body = (data.len() - head.end) as u64;
    let wanted = head.length.unwrap_or(u64::MAX).min(MAX_BODY);
    let mut buffer = [0u8; 8192];
    while body < wanted {
        let read = stream
            .read(&mut buffer)
            .await
            .map_err(|e| broken("while reading the body", e))?;
        if read == 0 {
            if head.length.is_some() {
                return Err(ProbeError::Broken {
                    addr,
                    what: format!("{body} of {wanted} bytes of the body"),
                });
            }
            break;
        }
        body += read as u64;
    }
    Ok(Answer {
        status: head.status,
        node: head.node,
        took: start.elapsed(),
    })
}

fn connect_error(addr: SocketAddr, error: io::Error) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => ProbeError::Refused(addr),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN | libc::ETIMEDOUT) => {
            ProbeError::Unreachable { addr, source: error }
        }
        Some(libc::ECONNRESET) => ProbeError::Broken {
            addr,
            what: "reset while connecting".into(),
        },
        _ => ProbeError::Other { addr, source: error },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Serves one connection with these bytes and returns what `http_once` made of them.
    fn ask(answer: &'static [u8]) -> Result<Answer, ProbeError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut chunk = [0u8; 512];
            while !seen.ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0);
                seen.extend_from_slice(&chunk[..read]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(seen).unwrap()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let result = runtime.block_on(http_once(addr, "vip.example", "/x", Duration::from_secs(20)));
        let request = server.join().unwrap();
        assert!(
            request.starts_with("GET /x HTTP/1.1\r\nHost: vip.example\r\n"),
            "{request}"
        );
        result
    }

    #[test]
    fn answers_and_garbage() {
        let answer = ask(b"HTTP/1.1 200 OK\r\nx-hapair-node:  edge-1 \r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((answer.status, answer.node.as_deref()), (200, Some("edge-1")));
        let answer = ask(b"HTTP/1.1 502 Bad Gateway\nX-Hapair-Node: \x1b[31mred\n\nuntil close").unwrap();
        assert_eq!(
            (answer.status, answer.node),
            (502, None),
            "escape codes are no host name"
        );
        let kinds = [
            (ask(b"").unwrap_err().kind(), FailKind::Broken),
            (ask(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap_err().kind(), FailKind::Garbage),
            (
                ask(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap_err().kind(),
                FailKind::Broken,
            ),
            (
                ask(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
                    .unwrap_err()
                    .kind(),
                FailKind::Broken,
            ),
            (ask(b"HTTP/1.1 999 Odd\r\n\r\n").unwrap_err().kind(), FailKind::Garbage),
            (ask(b"HTTP/2 200\r\n\r\n").unwrap_err().kind(), FailKind::Garbage),
        ];
        for (got, wanted) in kinds {
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn nobody_there_is_refused_and_silence_is_timeout() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let silent = runtime.block_on(http_once(addr, "x", "/", Duration::from_millis(30)));
        assert_eq!(silent.unwrap_err().kind(), FailKind::Timeout);
        drop(listener);
        let refused = runtime.block_on(http_once(addr, "x", "/", Duration::from_secs(20)));
        assert_eq!(refused.unwrap_err().kind(), FailKind::Refused);
        assert_eq!(
            runtime
                .block_on(tcp_once(addr, Duration::from_secs(20)))
                .unwrap_err()
                .kind(),
            FailKind::Refused
        );
    }
}

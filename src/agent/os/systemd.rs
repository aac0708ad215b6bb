//! What a service says to systemd, and hears from it.

use std::time::Duration;

/// sd_notify(3): a datagram to the socket that systemd names.
pub(crate) fn notify(text: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").map(|n| n.to_string_lossy().into_owned()) else {
        return;
    };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), address) {
        // A manager that does not read must not hold up the packets.
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        drop(socket.send_to_addr(text.as_bytes(), &address));
    }
}

/// Half of what systemd gives us between two signs of life.
pub(crate) fn watchdog() -> Option<Duration> {
    let pid: Option<u32> = std::env::var("WATCHDOG_PID").ok().and_then(|p| p.parse().ok());
    if pid.is_some_and(|pid| pid != std::process::id()) {
        return None;
    }
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros / 2))
}

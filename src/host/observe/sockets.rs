//! Sockets as `/proc/net/{tcp,tcp6,raw,raw6}` lists them (proc(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One line: for a raw socket the port is its IP protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLine {
    /// Where it is bound.
    pub address: IpAddr,
    /// TCP port, or IP protocol.
    pub port: u16,
    /// State, as the kernel counts them.
    state: u8,
    /// By which its process is found.
    pub inode: u64,
}

/// A TCP socket that waits for connections (`TCP_LISTEN`).
const LISTEN: u8 = 10;

/// Every line that can be read.
fn lines(text: &str) -> impl Iterator<Item = SocketLine> {
    text.lines().skip(1).filter_map(|line| {
        // sl local remote st queues timer retransmits uid timeout inode …
        let fields: Vec<&str> = line.split_whitespace().take(10).collect();
        let (address, port) = fields.get(1)?.split_once(':')?;
        Some(SocketLine {
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    })
}

/// TCP sockets that wait for connections.
pub fn listening(text: &str) -> Vec<SocketLine> {
    lines(text).filter(|line| line.state == LISTEN).collect()
}

/// Raw sockets of an IP protocol.
pub fn of_protocol(text: &str, protocol: u8) -> Vec<SocketLine> {
    lines(text).filter(|line| line.port == u16::from(protocol)).collect()
}

/// Words of 32 bits in the machine's own order, each in hexadecimal; the kernel's tables hold them in network order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From a running machine.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21714 1 0000000000000000 100 0 0 10 0
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31002 1 0000000000000000 100 0 0 10 0
   2: C900A8C0:0016 FE00A8C0:D2F2 01 00000000:00000000 02:000AFE30 00000000     0        0 40123 4 0000000000000000 20 4 29 10 -1
";
    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31003 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31004 1 0000000000000000 100 0 0 10 0
";
    const RAW: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 50001 2 0000000000000000 0
 112: 120000E0:0070 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 50002 2 0000000000000000 0
";

    #[test]
    fn who_listens_where() {
        let seen = |text| {
            listening(text)
                .iter()
                .map(|l| (l.address.to_string(), l.port, l.inode))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            seen(TCP),
            [("0.0.0.0".to_owned(), 22, 21714), ("127.0.0.1".to_owned(), 80, 31002)]
        );
        assert_eq!(
            seen(TCP6),
            [("::".to_owned(), 80, 31003), ("::1".to_owned(), 631, 31004)]
        );
    }

    #[test]
    fn raw_sockets_by_protocol() {
        let seen = of_protocol(RAW, 112);
        assert_eq!(seen.len(), 1);
        assert_eq!(
            (seen[0].address.to_string().as_str(), seen[0].inode),
            ("224.0.0.18", 50002)
        );
        assert!(of_protocol("", 112).is_empty() && of_protocol("sl\nnonsense\n", 112).is_empty());
    }
}

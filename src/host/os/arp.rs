//! Asking the segment who has an IPv4 address (RFC 826), below this host's own packet filter.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::host::os::root::Root;
use crate::state::arp::{self, Mac};

/// Pause between two requests: a switch may drop one while it learns.
const AGAIN: Duration = Duration::from_millis(500);

/// An Ethernet interface that speaks ARP and has link.
#[derive(Debug, Clone, Copy)]
pub struct Interface {
    index: i32,
    mac: Mac,
}

impl Interface {
    /// `None`: there is no such interface, it is down or without link, or it is none that speaks ARP.
    pub fn named(root: &Root, name: &str) -> Option<Interface> {
        const ARPHRD_ETHER: &str = "1";
        const IFF_UP: u32 = 0x1;
        const IFF_NOARP: u32 = 0x80;
        let file = |leaf: &str| root.line(&format!("/sys/class/net/{name}/{leaf}"));
        let flags = u32::from_str_radix(file("flags").trim_start_matches("0x"), 16).ok()?;
        if file("type") != ARPHRD_ETHER || file("carrier") != "1" || flags & (IFF_UP | IFF_NOARP) != IFF_UP {
            return None;
        }
        Some(Interface {
            index: file("ifindex").parse().ok()?,
            mac: file("address").parse().ok()?,
        })
    }
}

/// Who has this address on the segment of an interface, in the usual notation; `None`: nobody answered in time.
/// `sender` is our own address there, or 0.0.0.0 to ask without having one (RFC 5227). Answers of this host's own
/// interfaces do not count.
///
/// # Errors
/// A system call failed: not root, or the interface went away.
pub fn who_has(
    root: &Root,
    interface: Interface,
    wanted: Ipv4Addr,
    sender: Ipv4Addr,
    patience: Duration,
) -> io::Result<Option<String>> {
    let mut answers = who_have(root, interface, &[wanted], sender, patience)?;
    Ok(answers.pop().map(|(_, mac)| mac))
}

/// The same for several addresses at once: those that somebody has, each with the first station that answered.
///
/// # Errors
/// As [`who_has`].
pub fn who_have(
    root: &Root,
    interface: Interface,
    wanted: &[Ipv4Addr],
    sender: Ipv4Addr,
    patience: Duration,
) -> io::Result<Vec<(Ipv4Addr, String)>> {
    let own: Vec<Mac> = root
        .names("/sys/class/net")
        .iter()
        .filter_map(|name| root.line(&format!("/sys/class/net/{name}/address")).parse().ok())
        .collect();
    let socket = open(interface)?;
    let mut missing = wanted.to_vec();
    let mut answers = Vec::new();
    let began = Instant::now();
    let mut asked = 0;
    while began.elapsed() < patience && !missing.is_empty() {
        if began.elapsed() >= AGAIN * asked {
            asked += 1;
            for address in &missing {
                send(&socket, interface, &arp::question(interface.mac, sender, *address))?;
            }
        }
        let wait = (AGAIN * asked).min(patience).saturating_sub(began.elapsed());
        for packet in receive(&socket, wait)? {
            missing.retain(|address| {
                let Some((mac, _)) = arp::claim(&packet, *address).filter(|(mac, _)| !own.contains(mac)) else {
                    return true;
                };
                answers.push((*address, mac.to_string()));
                false
            });
        }
    }
    Ok(answers)
}

/// Where an interface's ARP packets come from and go to.
fn address(interface: Interface) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain data and valid when zeroed.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = arp::ETHERTYPE.to_be();
    address.sll_ifindex = interface.index;
    address.sll_halen = 6;
    address.sll_addr[..6].copy_from_slice(&Mac::BROADCAST.0);
    address
}

const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A socket that hears the ARP of one interface; the kernel puts the Ethernet header on and takes it off.
fn open(interface: Interface) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Protocol 0: nothing is received before the bind names interface and protocol.
    // SAFETY: a system call without pointers.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) } as isize)? as i32;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = address(interface);
    // SAFETY: pointer and length are those of `address`, which outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LENGTH) };
    check(bound as isize)?;
    Ok(socket)
}

fn send(socket: &OwnedFd, interface: Interface, packet: &[u8]) -> io::Result<()> {
    let to = address(interface);
    // SAFETY: both pointers and lengths are those of values that outlive the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const to).cast(),
            ADDRESS_LENGTH,
        )
    };
    check(sent).map(drop)
}

/// Waits for packets, and returns those that are there.
fn receive(socket: &OwnedFd, wait: Duration) -> io::Result<Vec<Vec<u8>>> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // Rounded up, so that the last fraction of a millisecond does not spin.
    let milliseconds = i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: one valid pollfd, and the count says one.
    let ready = check(unsafe { libc::poll(&raw mut poll, 1, milliseconds) } as isize);
    if let Err(error) = ready
        && error.kind() != io::ErrorKind::Interrupted
    {
        return Err(error);
    }
    let mut packets = Vec::new();
    loop {
        let mut packet = vec![0_u8; 64];
        // SAFETY: pointer and length are those of `packet`, which outlives the call.
        let got = unsafe { libc::recv(socket.as_raw_fd(), packet.as_mut_ptr().cast(), packet.len(), 0) };
        match check(got) {
            Ok(length) => {
                packet.truncate(length);
                packets.push(packet);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(packets),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

//! Who owns an IPv4 address, seen from the segment: ARP who-has on an AF_PACKET socket.
//!
//! Needs CAP_NET_RAW and an Ethernet interface whose subnet holds the address. Where that is not given, callers get
//! [`ArpUnavailable`], whose text says why, and go on without.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::prober::micros;
pub use crate::state::arp::Mac;
use crate::state::arp::{self, Claim};

/// Why ARP cannot be asked from here; not a fault of the pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ARP unavailable: {0}")]
pub struct ArpUnavailable(pub String);

/// An interface from which ARP can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArpInterface {
    /// `eth0`.
    pub name: String,
    /// Kernel's number of it.
    pub index: u32,
    /// Its own Ethernet address.
    pub mac: Mac,
    /// Its own address, used as the sender's.
    pub address: Ipv4Addr,
    /// Prefix length of that address, 0 to 32.
    pub prefix: u8,
}

/// One request and what it brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArpRound {
    /// When the request was sent, µs since the epoch.
    pub sent_us: u64,
    /// Who answered before the next request was sent, without repetition.
    pub macs: Vec<Mac>,
}

/// All that was heard of one address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ArpLog {
    /// Every request.
    pub rounds: Vec<ArpRound>,
    /// Gratuitous ARPs for the address: when (µs since the epoch) and from whom.
    pub gratuitous: Vec<(u64, Mac)>,
}

/// The interface of this machine (in this thread's network namespace) whose subnet holds `vip`.
///
/// # Errors
/// [`ArpUnavailable`] for IPv6, for an address of our own, and when no Ethernet interface is on its subnet.
pub fn interface_for(vip: IpAddr) -> Result<ArpInterface, ArpUnavailable> {
    let IpAddr::V4(vip) = vip else {
        return Err(ArpUnavailable(format!("{vip} is IPv6, which has no ARP")));
    };
    let interfaces = interfaces().map_err(|e| ArpUnavailable(format!("cannot list interfaces: {e}")))?;
    if interfaces.iter().any(|i| i.address == vip) {
        return Err(ArpUnavailable(format!("{vip} is an address of this machine")));
    }
    interfaces
        .into_iter()
        .filter(|i| i.prefix < 32 && same_subnet(i.address, vip, i.prefix))
        .max_by_key(|i| i.prefix)
        .ok_or_else(|| {
            ArpUnavailable(format!(
                "no Ethernet interface of this machine is on the subnet of {vip}"
            ))
        })
}

fn same_subnet(a: Ipv4Addr, b: Ipv4Addr, prefix: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    u32::from(a) & mask == u32::from(b) & mask
}

/// Ethernet interfaces that are up and speak ARP, one entry for each of their IPv4 addresses.
fn interfaces() -> io::Result<Vec<ArpInterface>> {
    let mut head: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes one pointer; the list is freed below and not used after.
    if unsafe { libc::getifaddrs(&mut head) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut links: BTreeMap<String, (u32, Mac)> = BTreeMap::new();
    let mut addresses: Vec<(String, Ipv4Addr, u8)> = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: non-null entries of the list are valid until freeifaddrs.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        let flags = entry.ifa_flags as i32;
        let useless = libc::IFF_LOOPBACK | libc::IFF_NOARP;
        if entry.ifa_addr.is_null() || flags & libc::IFF_UP == 0 || flags & useless != 0 {
            continue;
        }
        // SAFETY: ifa_name is a NUL-terminated string that lives as long as the list.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        // SAFETY: ifa_addr is non-null and points to a sockaddr whose family says what it is.
        match i32::from(unsafe { (*entry.ifa_addr).sa_family }) {
            libc::AF_PACKET => {
                // SAFETY: family AF_PACKET means sockaddr_ll; read unaligned because nothing promises alignment.
                let link = unsafe { entry.ifa_addr.cast::<libc::sockaddr_ll>().read_unaligned() };
                if link.sll_hatype == libc::ARPHRD_ETHER && link.sll_halen == 6 {
                    let [a, b, c, d, e, f, ..] = link.sll_addr;
                    links.insert(name, (link.sll_ifindex as u32, Mac([a, b, c, d, e, f])));
                }
            }
            libc::AF_INET => {
                // SAFETY: family AF_INET means sockaddr_in.
                let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
                let mask = if entry.ifa_netmask.is_null() {
                    u32::MAX
                } else {
                    // SAFETY: the mask of an AF_INET entry is a sockaddr_in too.
                    u32::from_be(
                        unsafe { entry.ifa_netmask.cast::<libc::sockaddr_in>().read_unaligned() }
                            .sin_addr
                            .s_addr,
                    )
                };
                addresses.push((
                    name,
                    Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)),
                    mask.count_ones() as u8,
                ));
            }
            _ => {}
        }
    }
    // SAFETY: `head` came from getifaddrs and every borrow of the list has ended.
    unsafe { libc::freeifaddrs(head) };
    let found = addresses.into_iter().filter_map(|(name, address, prefix)| {
        let (index, mac) = *links.get(&name)?;
        Some(ArpInterface {
            name,
            index,
            mac,
            address,
            prefix,
        })
    });
    Ok(found.collect())
}

/// An Ethernet broadcast frame asking who has `vip`.
fn request_frame(interface: &ArpInterface, vip: Ipv4Addr) -> [u8; 42] {
    arp::broadcast(interface.mac, &arp::question(interface.mac, interface.address, vip))
}

/// Who answers a question for `vip` in this frame, or announces it.
fn heard(frame: &[u8], vip: Ipv4Addr) -> Option<(Mac, Claim)> {
    arp::claim(arp::of_frame(frame)?, vip).filter(|(_, claim)| *claim != Claim::Asks)
}

fn open(interface: &ArpInterface) -> Result<Socket, ArpUnavailable> {
    let fail = |what: &str, e: io::Error| match e.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => ArpUnavailable("needs root (CAP_NET_RAW)".into()),
        _ => ArpUnavailable(format!("{what} on {}: {e}", interface.name)),
    };
    // Protocol 0: nothing is received before the bind below names interface and protocol.
    let socket =
        Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).map_err(|e| fail("cannot open a socket", e))?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is plain data that fits the storage and is valid when zeroed.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = arp::ETHERTYPE.to_be();
    address.sll_ifindex = interface.index as i32;
    // SAFETY: the storage holds a sockaddr_ll of exactly this length.
    let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    socket.bind(&address).map_err(|e| fail("cannot bind", e))?;
    socket
        .set_nonblocking(true)
        .map_err(|e| fail("cannot set up the socket", e))?;
    Ok(socket)
}

/// Waits until the socket is readable or `deadline`; then hands every frame that is there to `take`.
fn listen(socket: &Socket, deadline: Instant, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    use std::io::Read;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        // Rounded up, so that the last fraction of a millisecond does not spin.
        let wait = left.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        let mut poll = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd, and the count says one.
        if unsafe { libc::poll(&mut poll, 1, wait) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let mut frame = [0u8; 2048];
        loop {
            match (&*socket).read(&mut frame) {
                Ok(length) => take(&frame[..length]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The interface went down: nothing to hear until it is back.
                Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) => break,
                Err(e) => return Err(e),
            }
        }
    }
}

fn ipv4(vip: IpAddr) -> Result<Ipv4Addr, ArpUnavailable> {
    match vip {
        IpAddr::V4(vip) => Ok(vip),
        IpAddr::V6(vip) => Err(ArpUnavailable(format!("{vip} is IPv6, which has no ARP"))),
    }
}

/// Asks three times within `timeout` (blocking) who has `vip`; everyone that answered, sorted.
///
/// Empty: nobody has it, as far as this segment shows. Not for a current-thread runtime's own thread.
///
/// # Errors
/// [`ArpUnavailable`].
pub fn who_has(
    vip: impl Into<IpAddr>,
    interface: &ArpInterface,
    timeout: Duration,
) -> Result<Vec<Mac>, ArpUnavailable> {
    let vip = ipv4(vip.into())?;
    let socket = open(interface)?;
    let start = Instant::now();
    let mut found = std::collections::BTreeSet::new();
    for round in 1..=3u32 {
        socket
            .send(&request_frame(interface, vip))
            .map_err(|e| ArpUnavailable(format!("cannot send on {}: {e}", interface.name)))?;
        listen(&socket, start + timeout * round / 3, |frame| {
            if let Some((mac, _)) = heard(frame, vip) {
                found.insert(mac);
            }
        })
        .map_err(|e| ArpUnavailable(format!("cannot read from {}: {e}", interface.name)))?;
    }
    Ok(found.into_iter().collect())
}

/// Asks who has an address again and again, on a thread of its own; stopped by [`ArpWatch::stop`] or by dropping.
pub struct ArpWatch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<ArpLog>>,
}

impl ArpWatch {
    /// Starts; one request every `interval`, times count from `epoch`.
    ///
    /// # Errors
    /// [`ArpUnavailable`], at once; an interface that fails later only ends the log.
    pub fn start(
        vip: IpAddr,
        interface: &ArpInterface,
        interval: Duration,
        epoch: Instant,
    ) -> Result<ArpWatch, ArpUnavailable> {
        let vip = ipv4(vip)?;
        let socket = open(interface)?;
        let frame = request_frame(interface, vip);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("hapair-arp".into())
            .spawn(move || watch(&socket, &frame, vip, interval, epoch, &stopped))
            .map_err(|e| ArpUnavailable(format!("no thread: {e}")))?;
        Ok(ArpWatch {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends within one interval and returns what was heard.
    pub fn stop(mut self) -> ArpLog {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|t| t.join().ok()).unwrap_or_default()
    }
}

impl Drop for ArpWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(
    socket: &Socket,
    request: &[u8],
    vip: Ipv4Addr,
    interval: Duration,
    epoch: Instant,
    stop: &AtomicBool,
) -> ArpLog {
    let mut log = ArpLog::default();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let sent_us = micros(epoch.elapsed());
        // A failed send (interface down) is a round without answers.
        let _ = socket.send(request);
        let mut round = ArpRound {
            sent_us,
            macs: Vec::new(),
        };
        due = (due + interval).max(Instant::now());
        let gratuitous = &mut log.gratuitous;
        let result = listen(socket, due, |frame| match heard(frame, vip) {
            Some((mac, Claim::Reply)) if !round.macs.contains(&mac) => round.macs.push(mac),
            Some((mac, Claim::Gratuitous)) => gratuitous.push((micros(epoch.elapsed()), mac)),
            _ => {}
        });
        log.rounds.push(round);
        if result.is_err() {
            break;
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_asked_says_why() {
        let ipv6 = interface_for("2001:db8::1".parse().unwrap()).unwrap_err();
        assert_eq!(
            ipv6.to_string(),
            "ARP unavailable: 2001:db8::1 is IPv6, which has no ARP"
        );
        let far = interface_for("203.0.113.77".parse().unwrap()).unwrap_err();
        assert!(
            far.to_string()
                .contains("no Ethernet interface of this machine is on the subnet of 203.0.113.77")
        );
    }

    proptest! {
        #[test]
        fn subnets(a in any::<u32>(), b in any::<u32>(), prefix in 0u8..=32) {
            let net = ipnet::Ipv4Net::new(a.into(), prefix).unwrap();
            prop_assert_eq!(same_subnet(a.into(), b.into(), prefix), net.contains(&Ipv4Addr::from(b)));
        }
    }
}

//! Raw sockets for VRRP: adverts out and in, many with one system call.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use std::{io, mem};

use libc::{c_int, socklen_t};

use crate::agent::os::sys;
use crate::agent::os::sys::{BURST, Buffer, empty_message, iovec, room, set, socket};
use crate::keepalived::Family;
use crate::vrrp::frame::parse_ipv4;
use crate::vrrp::hmac::{Seal, TRAILER};
use crate::vrrp::packet::PROTOCOL;
use crate::vrrp::{Advert, Form, Packet};

fn sockaddr_in(ip: Ipv4Addr) -> libc::sockaddr_in {
    // SAFETY: all zero is a valid sockaddr_in.
    let mut a: libc::sockaddr_in = unsafe { mem::zeroed() };
    a.sin_family = libc::AF_INET as u16;
    a.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
    a
}

fn sockaddr_in6(ip: Ipv6Addr, scope: u32) -> libc::sockaddr_in6 {
    // SAFETY: all zero is a valid sockaddr_in6.
    let mut a: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    a.sin6_family = libc::AF_INET6 as u16;
    a.sin6_addr.s6_addr = ip.octets();
    a.sin6_scope_id = scope;
    a
}

/// A raw socket for protocol 112 on one interface, one family.
#[derive(Debug)]
pub(crate) struct VrrpSocket {
    fd: OwnedFd,
    index: u32,
    family: Family,
    /// What the kernel was last told, so that it need not be told with every advert.
    hops: Cell<u8>,
}

/// A message for one target.
struct Outgoing {
    /// VRRP, checksum included: where in [`Outbox::bytes`].
    message: Range<usize>,
    /// An own address.
    src: IpAddr,
    /// Group or peer.
    dst: IpAddr,
    /// Time to live of IPv4, hop limit of unicast IPv6.
    hops: u8,
}

/// Messages on their way, with everything that the kernel is told of them. Emptied, it keeps its memory.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    messages: Vec<Outgoing>,
    parts: Vec<Part>,
    headers: Vec<libc::mmsghdr>,
}

impl Outbox {
    /// Forgets what has been sent.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }

    /// An advert from an own address to a group or peer. `hops`: time to live of IPv4, hop limit of unicast IPv6.
    pub(crate) fn push(
        &mut self,
        (advert, form, seal): (&Advert, Form, Option<Seal<'_>>),
        src: IpAddr,
        dst: IpAddr,
        hops: u8,
    ) {
        let start = self.bytes.len();
        advert.encode_sealed_into(src, dst, form, seal, &mut self.bytes);
        self.messages.push(Outgoing {
            message: start..self.bytes.len(),
            src,
            dst,
            hops,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Where the message of that position goes.
    pub(crate) fn dst(&self, at: usize) -> IpAddr {
        self.messages[at].dst
    }
}

/// Packets read by one system call.
pub(crate) const PACKETS: usize = 32;
/// The largest packet: IPv4 header with options, VRRP header, 255 addresses of IPv6, password or trailer.
const PACKET: usize = 60 + 8 + 255 * 16 + 8 + TRAILER;
/// Control data of a packet, in words of 8 bytes: time stamp; hop limit and destination of IPv6.
const CONTROL: usize = 16;

/// Where packets are read into, with everything that the kernel is told of it. Made once: nothing in it moves.
#[derive(Default)]
pub(crate) struct Arrivals {
    bytes: Vec<u8>,
    from: Vec<libc::sockaddr_in6>,
    control: Vec<[u64; CONTROL]>,
    iovs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Arrivals {
    fn ready(&mut self) {
        if !self.headers.is_empty() {
            return;
        }
        self.bytes = vec![0; PACKETS * PACKET];
        // SAFETY: all zero is a valid sockaddr_in6.
        self.from = vec![unsafe { mem::zeroed() }; PACKETS];
        self.control = vec![[0; CONTROL]; PACKETS];
        let parts = self.bytes.chunks_exact_mut(PACKET);
        self.iovs = parts
            .map(|part| libc::iovec {
                iov_base: part.as_mut_ptr().cast(),
                iov_len: part.len(),
            })
            .collect();
        let buffers = self.iovs.iter_mut().zip(&mut self.from).zip(&mut self.control);
        self.headers = buffers
            .map(|((iov, from), control)| {
                let mut m = empty_message();
                m.msg_hdr.msg_name = std::ptr::from_mut(from).cast();
                m.msg_hdr.msg_iov = iov;
                m.msg_hdr.msg_iovlen = 1;
                m.msg_hdr.msg_control = control.as_mut_ptr().cast();
                m
            })
            .collect();
        self.renew(PACKETS);
    }

    /// Undoes what the kernel has written into the first so many headers.
    fn renew(&mut self, used: usize) {
        for header in &mut self.headers[..used] {
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as socklen_t;
            header.msg_hdr.msg_controllen = mem::size_of::<[u64; CONTROL]>() as _;
        }
    }
}

/// What the kernel says of a packet beside it.
#[derive(Default)]
struct Told {
    /// IPv6.
    dst: Option<Ipv6Addr>,
    /// IPv6.
    hops: Option<c_int>,
    /// By CLOCK_REALTIME.
    arrived: Option<Duration>,
}

fn told(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the kernel filled the control data; the CMSG macros walk it within msg_controllen, data is read unaligned.
    unsafe {
        let mut c = libc::CMSG_FIRSTHDR(header);
        while !c.is_null() {
            let data = libc::CMSG_DATA(c);
            match ((*c).cmsg_level, (*c).cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    told.hops = Some(std::ptr::read_unaligned(data.cast::<c_int>()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = std::ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                    told.dst = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let at = std::ptr::read_unaligned(data.cast::<libc::timespec>());
                    told.arrived = Some(Duration::new(at.tv_sec as u64, at.tv_nsec as u32));
                }
                _ => {}
            }
            c = libc::CMSG_NXTHDR(header, c);
        }
    }
    told
}

impl VrrpSocket {
    /// Opens it; `device` and `index` name the same interface.
    pub(crate) fn open(device: &str, index: u32, family: Family) -> io::Result<VrrpSocket> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let fd = socket(domain, libc::SOCK_RAW, PROTOCOL.into())?;
        let mut name = [0u8; libc::IFNAMSIZ];
        let len = device.len().min(libc::IFNAMSIZ - 1);
        name[..len].copy_from_slice(&device.as_bytes()[..len]);
        set(&fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &name)?;
        // Precedence "internetwork control": first in line on a busy wire.
        set(&fd, libc::SOL_SOCKET, libc::SO_PRIORITY, &6i32)?;
        room(&fd, Buffer::Send, BURST)?;
        room(&fd, Buffer::Receive, BURST)?;
        // When a packet came counts, not when there was time to read it. Without the stamps the latter must do.
        drop(set(&fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1i32));
        if family == Family::V6 {
            let hops = 255i32;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &hops)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &hops)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &0i32)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &(index as i32))?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &0xc0i32)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1i32)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1i32)?;
        } else {
            set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &255i32)?;
            set(&fd, libc::IPPROTO_IP, libc::IP_TTL, &255i32)?;
            set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, &0i32)?;
            set(&fd, libc::IPPROTO_IP, libc::IP_TOS, &0xc0i32)?;
            // No "don't fragment", as keepalived.
            set(&fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &libc::IP_PMTUDISC_DONT)?;
            let multicast_if = libc::ip_mreqn {
                imr_multiaddr: libc::in_addr { s_addr: 0 },
                imr_address: libc::in_addr { s_addr: 0 },
                imr_ifindex: index as i32,
            };
            set(&fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &multicast_if)?;
        }
        Ok(VrrpSocket {
            fd,
            index,
            family,
            hops: Cell::new(255),
        })
    }

    /// Joins a group; joining twice is no error.
    pub(crate) fn join(&self, group: IpAddr) -> io::Result<()> {
        let result = match group {
            IpAddr::V4(group) => {
                let request = libc::ip_mreqn {
                    imr_multiaddr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(group.octets()),
                    },
                    imr_address: libc::in_addr { s_addr: 0 },
                    imr_ifindex: self.index as i32,
                };
                set(&self.fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
            }
            IpAddr::V6(group) => {
                let request = libc::ipv6_mreq {
                    ipv6mr_multiaddr: libc::in6_addr {
                        s6_addr: group.octets(),
                    },
                    ipv6mr_interface: self.index,
                };
                set(&self.fd, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)
            }
        };
        match result {
            Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => Ok(()),
            other => other,
        }
    }

    /// Sends messages, with one system call for all that have the same hops. Returns those that failed, by position.
    pub(crate) fn send(&self, outbox: &mut Outbox) -> Vec<(usize, io::Error)> {
        let Outbox {
            bytes,
            messages,
            parts,
            headers,
        } = outbox;
        let mut failed = Vec::new();
        let mut start = 0;
        for same in messages.chunk_by(|a, b| a.hops == b.hops) {
            if let Err(e) = self.set_hops(same[0].hops) {
                failed.push((start, e));
            } else {
                parts.clear();
                parts.extend(same.iter().map(|m| Part::new(m, &bytes[m.message.clone()], self.index)));
                headers.clear();
                headers.extend(parts.iter_mut().map(Part::header));
                // SAFETY: every pointer in `headers` is into `parts` or `bytes`, which do not move before the call is over.
                let some = unsafe { sys::send_all(&self.fd, headers) };
                failed.extend(some.into_iter().map(|(at, e)| (start + at, e)));
            }
            start += same.len();
        }
        failed
    }

    fn set_hops(&self, hops: u8) -> io::Result<()> {
        if self.hops.get() != hops {
            let (level, name) = if self.family == Family::V6 {
                (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
            } else {
                (libc::IPPROTO_IP, libc::IP_TTL)
            };
            set(&self.fd, level, name, &i32::from(hops))?;
            self.hops.set(hops);
        }
        Ok(())
    }

    /// Reads up to [`PACKETS`] packets and hands them out, each with the time by CLOCK_REALTIME when the kernel got it.
    /// Returns how many were read: as long as it is all that were asked for, there may be more. What is no VRRP packet at
    /// all is passed over.
    pub(crate) fn receive(
        &self,
        arrivals: &mut Arrivals,
        mut each: impl FnMut(Packet<'_>, Option<Duration>),
    ) -> io::Result<usize> {
        arrivals.ready();
        let got = loop {
            // SAFETY: every pointer in the headers is into another part of `arrivals`, with its length; recvmmsg is in
            // Linux 2.6.33.
            let got = unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    arrivals.headers.as_mut_ptr(),
                    PACKETS as u32,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            if got >= 0 {
                break got as usize;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(0),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        };
        let received = arrivals.headers[..got].iter().zip(arrivals.bytes.chunks_exact(PACKET));
        for ((header, bytes), from) in received.zip(&arrivals.from) {
            let bytes = &bytes[..(header.msg_len as usize).min(PACKET)];
            let told = told(&header.msg_hdr);
            let packet = if self.family == Family::V6 {
                packet_v6(bytes, from, &told)
            } else {
                packet_v4(bytes)
            };
            if let Some(packet) = packet {
                each(packet, told.arrived);
            }
        }
        arrivals.renew(got);
        Ok(got)
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn packet_v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let ip = parse_ipv4(bytes).ok()?;
    Some(Packet {
        src: ip.src.into(),
        dst: ip.dst.into(),
        ttl: ip.ttl,
        payload: ip.payload,
    })
}

/// The kernel gives IPv6 packets without their header.
fn packet_v6<'b>(bytes: &'b [u8], from: &libc::sockaddr_in6, told: &Told) -> Option<Packet<'b>> {
    Some(Packet {
        src: Ipv6Addr::from(from.sin6_addr.s6_addr).into(),
        dst: told.dst?.into(),
        ttl: told.hops?.clamp(0, 255) as u8,
        payload: bytes,
    })
}

/// Everything that the header of one outgoing message points to.
struct Part {
    iov: libc::iovec,
    /// An IPv4 address lies at its beginning.
    to: libc::sockaddr_in6,
    to_len: usize,
    /// IP_PKTINFO or IPV6_PKTINFO: the source address.
    control: [u64; 5],
    control_len: usize,
}

impl Part {
    fn new(m: &Outgoing, message: &[u8], index: u32) -> Part {
        // SAFETY: all zero is a valid sockaddr_in6.
        let mut to: libc::sockaddr_in6 = unsafe { mem::zeroed() };
        let to_len = match m.dst {
            IpAddr::V4(ip) => {
                // SAFETY: sockaddr_in is shorter than sockaddr_in6 and not more strictly aligned.
                unsafe { (&raw mut to).cast::<libc::sockaddr_in>().write(sockaddr_in(ip)) };
                mem::size_of::<libc::sockaddr_in>()
            }
            IpAddr::V6(ip) => {
                to = sockaddr_in6(ip, index);
                mem::size_of::<libc::sockaddr_in6>()
            }
        };
        let mut control = [0u64; 5];
        let control_len = match m.src {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: index as i32,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(ip.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                control_message(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(ip) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    ipi6_ifindex: index as _,
                };
                control_message(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        };
        Part {
            iov: iovec(message),
            to,
            to_len,
            control,
            control_len,
        }
    }

    /// A header that points into this part: it must not move until the header has been used.
    fn header(&mut self) -> libc::mmsghdr {
        let mut m = empty_message();
        m.msg_hdr.msg_name = (&raw mut self.to).cast();
        m.msg_hdr.msg_namelen = self.to_len as socklen_t;
        m.msg_hdr.msg_iov = &raw mut self.iov;
        m.msg_hdr.msg_iovlen = 1;
        m.msg_hdr.msg_control = self.control.as_mut_ptr().cast();
        m.msg_hdr.msg_controllen = self.control_len as _;
        m
    }
}

/// Writes one control message (cmsg(3)) and returns its length.
fn control_message<T>(control: &mut [u64; 5], level: c_int, kind: c_int, data: T) -> usize {
    let size = mem::size_of::<T>() as u32;
    let mut header = empty_message().msg_hdr;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(control) as _;
    // SAFETY: `control` is aligned and holds a header and the larger of the two messages (16 + 20 bytes), so that
    // CMSG_FIRSTHDR is not null.
    unsafe {
        let c = libc::CMSG_FIRSTHDR(&header);
        (*c).cmsg_level = level;
        (*c).cmsg_type = kind;
        (*c).cmsg_len = libc::CMSG_LEN(size) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(c).cast(), data);
        libc::CMSG_SPACE(size) as usize
    }
}

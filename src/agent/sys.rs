//! The system calls that neither std nor nix wraps as needed: raw, packet and netlink sockets.

use std::cell::Cell;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};

use crate::vrrp::packet::PROTOCOL;

/// Time since boot without suspend (CLOCK_MONOTONIC): the clock of the state machine and of the timerfd.
pub(super) fn now() -> Duration {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid timespec; CLOCK_MONOTONIC exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
    Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(super) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: plain system call without pointers.
    let fd = check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn set<T>(fd: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        let len = mem::size_of::<T>() as socklen_t;
        libc::setsockopt(fd.as_raw_fd(), level, name, (value as *const T).cast::<c_void>(), len)
    };
    check(result).map(drop)
}

/// Binds to, or is sent to, a kernel address structure.
pub(super) fn bind<T>(fd: &OwnedFd, address: &T) -> io::Result<()> {
    // SAFETY: `address` is a socket address structure of its own size.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (address as *const T).cast::<libc::sockaddr>(),
            mem::size_of::<T>() as socklen_t,
        )
    };
    check(result).map(drop)
}

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
pub(super) struct VrrpSocket {
    fd: OwnedFd,
    index: u32,
    v6: bool,
    /// What the kernel was last told, so that it need not be told with every advert.
    hops: Cell<u8>,
}

/// A packet as the socket gave it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) ttl: u8,
    /// Where the VRRP message lies in the buffer.
    pub(super) message: std::ops::Range<usize>,
}

impl VrrpSocket {
    /// Opens it; `device` and `index` name the same interface.
    pub(super) fn open(device: &str, index: u32, v6: bool) -> io::Result<VrrpSocket> {
        let domain = if v6 { libc::AF_INET6 } else { libc::AF_INET };
        let fd = socket(domain, libc::SOCK_RAW, PROTOCOL.into())?;
        let mut name = [0u8; libc::IFNAMSIZ];
        let len = device.len().min(libc::IFNAMSIZ - 1);
        name[..len].copy_from_slice(&device.as_bytes()[..len]);
        set(&fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &name)?;
        // Precedence "internetwork control": first in line on a busy wire.
        set(&fd, libc::SOL_SOCKET, libc::SO_PRIORITY, &6i32)?;
        if v6 {
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
            v6,
            hops: Cell::new(255),
        })
    }

    /// Joins a group; joining twice is no error.
    pub(super) fn join(&self, group: IpAddr) -> io::Result<()> {
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

    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sends a message from an own address. `hops`: of unicast IPv6, or of IPv4.
    pub(super) fn send(&self, message: &[u8], src: IpAddr, dst: IpAddr, hops: u8) -> io::Result<()> {
        if self.hops.get() != hops {
            let (level, name) = if self.v6 {
                (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
            } else {
                (libc::IPPROTO_IP, libc::IP_TTL)
            };
            set(&self.fd, level, name, &i32::from(hops))?;
            self.hops.set(hops);
        }
        let mut iov = libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        };
        let mut control = [0u64; 8];
        let (v4, v6);
        // SAFETY: all zero is a valid msghdr.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        match dst {
            IpAddr::V4(ip) => {
                v4 = sockaddr_in(ip);
                header.msg_name = (&raw const v4).cast_mut().cast();
                header.msg_namelen = mem::size_of_val(&v4) as socklen_t;
            }
            IpAddr::V6(ip) => {
                v6 = sockaddr_in6(ip, self.index);
                header.msg_name = (&raw const v6).cast_mut().cast();
                header.msg_namelen = mem::size_of_val(&v6) as socklen_t;
            }
        }
        // SAFETY: `control` is aligned and larger than either message; CMSG_FIRSTHDR is not null for such a buffer.
        unsafe {
            match src {
                IpAddr::V4(ip) => {
                    header.msg_controllen = libc::CMSG_SPACE(mem::size_of::<libc::in_pktinfo>() as u32) as _;
                    let c = libc::CMSG_FIRSTHDR(&header);
                    (*c).cmsg_level = libc::IPPROTO_IP;
                    (*c).cmsg_type = libc::IP_PKTINFO;
                    (*c).cmsg_len = libc::CMSG_LEN(mem::size_of::<libc::in_pktinfo>() as u32) as _;
                    let info = libc::in_pktinfo {
                        ipi_ifindex: self.index as i32,
                        ipi_spec_dst: libc::in_addr {
                            s_addr: u32::from_ne_bytes(ip.octets()),
                        },
                        ipi_addr: libc::in_addr { s_addr: 0 },
                    };
                    std::ptr::write_unaligned(libc::CMSG_DATA(c).cast(), info);
                }
                IpAddr::V6(ip) => {
                    header.msg_controllen = libc::CMSG_SPACE(mem::size_of::<libc::in6_pktinfo>() as u32) as _;
                    let c = libc::CMSG_FIRSTHDR(&header);
                    (*c).cmsg_level = libc::IPPROTO_IPV6;
                    (*c).cmsg_type = libc::IPV6_PKTINFO;
                    (*c).cmsg_len = libc::CMSG_LEN(mem::size_of::<libc::in6_pktinfo>() as u32) as _;
                    let info = libc::in6_pktinfo {
                        ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                        ipi6_ifindex: self.index as _,
                    };
                    std::ptr::write_unaligned(libc::CMSG_DATA(c).cast(), info);
                }
            }
        }
        // SAFETY: every pointer in `header` is to a live local of this function.
        let sent = unsafe { libc::sendmsg(self.fd.as_raw_fd(), &header, libc::MSG_NOSIGNAL) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// The next packet, or `None` if there is none now. What is no VRRP packet at all is passed over.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        loop {
            let mut iov = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let mut control = [0u64; 32];
            // SAFETY: all zero is a valid sockaddr_in6 and msghdr.
            let (mut from, mut header): (libc::sockaddr_in6, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
            header.msg_name = (&raw mut from).cast();
            header.msg_namelen = mem::size_of_val(&from) as socklen_t;
            header.msg_iov = &mut iov;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&control) as _;
            // SAFETY: every pointer in `header` is to a live local or to `buffer`, with its length.
            let got = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &mut header, 0) };
            if got < 0 {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(None),
                    io::ErrorKind::Interrupted => continue,
                    _ => Err(error),
                };
            }
            let got = got as usize;
            if !self.v6 {
                let Ok(ip) = crate::vrrp::frame::parse_ipv4(&buffer[..got]) else {
                    continue;
                };
                let start = usize::from(buffer[0] & 0xf) * 4;
                let message = start..start + ip.payload.len();
                return Ok(Some(Received {
                    src: ip.src.into(),
                    dst: ip.dst.into(),
                    ttl: ip.ttl,
                    message,
                }));
            }
            let (mut dst, mut hops) = (None, None);
            // SAFETY: the kernel filled `control`; the CMSG macros walk it within msg_controllen, data is read unaligned.
            unsafe {
                let mut c = libc::CMSG_FIRSTHDR(&header);
                while !c.is_null() {
                    let data = libc::CMSG_DATA(c);
                    match ((*c).cmsg_level, (*c).cmsg_type) {
                        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                            hops = Some(std::ptr::read_unaligned(data.cast::<c_int>()));
                        }
                        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                            let info = std::ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                            dst = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                        }
                        _ => {}
                    }
                    c = libc::CMSG_NXTHDR(&header, c);
                }
            }
            let (Some(dst), Some(hops)) = (dst, hops) else { continue };
            let src = Ipv6Addr::from(from.sin6_addr.s6_addr);
            let ttl = hops.clamp(0, 255) as u8;
            return Ok(Some(Received {
                src: src.into(),
                dst: dst.into(),
                ttl,
                message: 0..got,
            }));
        }
    }
}

/// Sends whole Ethernet frames (gratuitous ARP, neighbour advertisements).
#[derive(Debug)]
pub(super) struct FrameSocket(OwnedFd);

impl FrameSocket {
    pub(super) fn open() -> io::Result<FrameSocket> {
        // Protocol 0: it only sends.
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0).map(FrameSocket)
    }

    /// Sends frames on an interface with as few system calls as can be; returns how many went.
    pub(super) fn send(&self, index: u32, frames: &[Vec<u8>]) -> io::Result<usize> {
        // SAFETY: all zero is a valid sockaddr_ll.
        let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = index as i32;
        to.sll_halen = 6;
        let mut iovs: Vec<libc::iovec> = frames
            .iter()
            .map(|f| libc::iovec {
                iov_base: f.as_ptr().cast_mut().cast(),
                iov_len: f.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = iovs
            .iter_mut()
            .map(|iov| {
                // SAFETY: all zero is a valid mmsghdr.
                let mut m: libc::mmsghdr = unsafe { mem::zeroed() };
                m.msg_hdr.msg_name = (&raw mut to).cast();
                m.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_ll>() as socklen_t;
                m.msg_hdr.msg_iov = iov;
                m.msg_hdr.msg_iovlen = 1;
                m
            })
            .collect();
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &mut messages[sent..];
            // SAFETY: `rest` is an array of that many headers whose pointers are to live locals; sendmmsg is in Linux 3.0.
            let n = unsafe { libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            match n {
                n if n > 0 => sent += n as usize,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return if sent > 0 { Ok(sent) } else { Err(error) };
                    }
                }
            }
        }
        Ok(sent)
    }
}

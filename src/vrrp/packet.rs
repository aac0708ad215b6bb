//! VRRP messages: version 2 (RFC 2338 with its password field, RFC 3768) and version 3 (RFC 5798, RFC 9568).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hmac::{Seal, Signed, TRAILER};

/// IP protocol number.
pub const PROTOCOL: u8 = 112;
/// IPv4 multicast group of all virtual routers.
pub const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// IPv6 multicast group of all virtual routers.
pub const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Password field of version 2.
pub const AUTH_LEN: usize = 8;
/// Largest interval of version 3, in hundredths of a second: 12 bits.
pub const MAX_INTERVAL_V3: u16 = 0x0fff;

const HEADER: usize = 8;

/// An advertisement.
///
/// ```text
///  0               1               2               3
/// |version| type  | virtual rtr id|   priority    | count of addrs|
/// | auth type (2) / rsvd+max adv  | adver int (2) |   checksum    |
/// | addresses ...                                                 |
/// | authentication data, 8 bytes (version 2 only)                 |
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// 2 or 3.
    pub version: u8,
    /// 1 to 255.
    pub vrid: u8,
    /// 0: the sender stops; 255: it owns the addresses.
    pub priority: u8,
    /// Version 2: seconds, 0 to 255. Version 3: hundredths of a second, 1 to 4095. As in the packet.
    pub interval: u16,
    /// Version 2: 0 none, 1 password, 2 IPsec AH.
    pub auth_type: u8,
    /// Version 2 only.
    pub auth_data: [u8; AUTH_LEN],
    /// All of one family.
    pub addresses: Vec<IpAddr>,
}

/// How a checksum was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// Over the message alone: version 2; RFC 9568 for version 3 over IPv4.
    Plain,
    /// With the pseudo-header of the packet's addresses: RFC 5798, keepalived, FRR; always over IPv6.
    #[default]
    Pseudo,
    /// With a pseudo-header whose destination is 224.0.0.18 although the packet is unicast: older keepalived, FRR.
    PseudoGroup,
}

/// Why bytes are not an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PacketError {
    /// Fewer bytes than the header or than the header announces.
    #[error("the packet has {got} bytes instead of {wanted}")]
    TooShort {
        /// Bytes there.
        got: usize,
        /// Bytes announced.
        wanted: usize,
    },
    /// More bytes than the header announces.
    #[error("the packet has {got} bytes instead of {wanted}")]
    TooLong {
        /// Bytes there.
        got: usize,
        /// Bytes announced.
        wanted: usize,
    },
    /// Neither 2 nor 3, or 2 over IPv6.
    #[error("version {0} is unknown")]
    Version(u8),
    /// Not an advertisement.
    #[error("packet type {0} is not an advertisement")]
    Type(u8),
    /// Version 3 with an interval of 0 (RFC 9568, 5.2.7): who obeyed it would take over without end.
    #[error("the advert interval is 0")]
    Interval,
    /// No form of checksum fits.
    #[error("the checksum is wrong")]
    Checksum,
    /// The IP header is broken or carries another protocol.
    #[error("the IP header is not that of a VRRP packet")]
    Ip,
}

impl Advert {
    /// Bytes of the message, checksum included.
    ///
    /// Version 2 is always [`Form::Plain`], IPv6 always [`Form::Pseudo`], whatever is asked for. More than 255 addresses
    /// do not fit: the rest is left out.
    pub fn encode(&self, src: IpAddr, dst: IpAddr, form: Form) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.addresses.len() * 16 + AUTH_LEN);
        self.encode_into(src, dst, form, &mut out);
        out
    }

    /// The same, behind what is there already.
    pub fn encode_into(&self, src: IpAddr, dst: IpAddr, form: Form, out: &mut Vec<u8>) {
        self.encode_sealed_into(src, dst, form, None, out);
    }

    /// The same, with the trailer of `auth_hmac`.
    pub fn encode_sealed_into(&self, src: IpAddr, dst: IpAddr, form: Form, seal: Option<Seal<'_>>, out: &mut Vec<u8>) {
        let start = out.len();
        let addresses = &self.addresses[..self.addresses.len().min(255)];
        out.extend([self.version << 4 | 1, self.vrid, self.priority, addresses.len() as u8]);
        if self.version == 2 {
            out.extend([self.auth_type, self.interval.min(255) as u8]);
        } else {
            out.extend(self.interval.clamp(1, MAX_INTERVAL_V3).to_be_bytes());
        }
        out.extend([0, 0]);
        for address in addresses {
            match address {
                IpAddr::V4(a) => out.extend(a.octets()),
                IpAddr::V6(a) => out.extend(a.octets()),
            }
        }
        let form = match (self.version, src) {
            (2, _) => Form::Plain,
            (_, IpAddr::V6(_)) => Form::Pseudo,
            _ => form,
        };
        if self.version == 2 {
            out.extend(self.auth_data);
        }
        let end = out.len();
        if let Some(seal) = seal {
            let trailer = seal.put(src, &out[start..]);
            out.extend(trailer);
        }
        // Over IPv6 it is over all that follows the IP header.
        let summed = if src.is_ipv6() { out.len() } else { end };
        let sum = checksum(&out[start..summed], src, dst, form);
        out[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
    }

    /// Reads a message; `bytes` is what follows the IP header, cut to the length in it.
    pub fn decode(bytes: &[u8], src: IpAddr, dst: IpAddr) -> Result<(Advert, Form), PacketError> {
        let (message, form) = Message::read(bytes, src, dst)?;
        if message.signed.is_some() {
            let (got, wanted) = (bytes.len(), bytes.len() - TRAILER);
            return Err(PacketError::TooLong { got, wanted });
        }
        let advert = Advert {
            version: message.version,
            vrid: message.vrid,
            priority: message.priority,
            interval: message.interval,
            auth_type: message.auth_type,
            auth_data: message.auth_data,
            addresses: message.addresses().collect(),
        };
        Ok((advert, form))
    }
}

/// A message as it lies in its packet: thousands a second are heard, and hardly any says something new.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'b> {
    pub(super) version: u8,
    pub(super) vrid: u8,
    pub(super) priority: u8,
    /// As in [`Advert::interval`].
    pub(super) interval: u16,
    pub(super) auth_type: u8,
    pub(super) auth_data: [u8; AUTH_LEN],
    /// Bytes of an address.
    size: usize,
    addresses: &'b [u8],
    /// The trailer of `auth_hmac` is there; nobody has looked at it yet.
    pub(super) signed: Option<Signed<'b>>,
}

impl<'b> Message<'b> {
    pub(super) fn read(bytes: &'b [u8], src: IpAddr, dst: IpAddr) -> Result<(Message<'b>, Form), PacketError> {
        let &[kind, vrid, priority, count, a, b, _, _, ref rest @ ..] = bytes else {
            return Err(PacketError::TooShort {
                got: bytes.len(),
                wanted: HEADER,
            });
        };
        let version = kind >> 4;
        let size = match (version, src) {
            (2 | 3, IpAddr::V4(_)) => 4,
            (3, IpAddr::V6(_)) => 16,
            _ => return Err(PacketError::Version(version)),
        };
        if kind & 0xf != 1 {
            return Err(PacketError::Type(kind & 0xf));
        }
        let tail = if version == 2 { AUTH_LEN } else { 0 };
        let addresses_len = usize::from(count) * size;
        let (got, wanted) = (bytes.len(), HEADER + addresses_len + tail);
        if got < wanted {
            return Err(PacketError::TooShort { got, wanted });
        }
        let (whole, (bytes, behind)) = (bytes, bytes.split_at(wanted));
        let signed = match <&[u8; TRAILER]>::try_from(behind) {
            _ if got == wanted => None,
            Ok(trailer) => Some(Signed {
                src,
                message: bytes,
                trailer,
            }),
            Err(_) => return Err(PacketError::TooLong { got, wanted }),
        };
        let summed = if src.is_ipv6() { whole } else { bytes };
        let form = form_of(summed, version, src, dst).ok_or(PacketError::Checksum)?;
        let (addresses, auth) = rest[..addresses_len + tail].split_at(addresses_len);
        // The four reserved bits of version 3 are not looked at (RFC 9568, 5.2.6).
        let interval_v3 = u16::from_be_bytes([a, b]) & MAX_INTERVAL_V3;
        if version == 3 && interval_v3 == 0 {
            return Err(PacketError::Interval);
        }
        let mut auth_data = [0; AUTH_LEN];
        if version == 2 {
            auth_data.copy_from_slice(auth);
        }
        let message = Message {
            version,
            vrid,
            priority,
            interval: if version == 2 { b.into() } else { interval_v3 },
            auth_type: if version == 2 { a } else { 0 },
            auth_data,
            size,
            addresses,
            signed,
        };
        Ok((message, form))
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + 'b {
        self.addresses.chunks_exact(self.size).map(address)
    }
}

/// The first address of an advert that is among those, and the advert's virtual router id; `None` also for bytes that are no
/// advert. For adverts of routers that are not ours.
pub fn announced(bytes: &[u8], src: IpAddr, dst: IpAddr, among: impl Fn(&IpAddr) -> bool) -> Option<(u8, IpAddr)> {
    let (message, _) = Message::read(bytes, src, dst).ok()?;
    let found = message.addresses().find(among)?;
    Some((message.vrid, found))
}

fn address(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(four) => IpAddr::from(four),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap_or_default()),
    }
}

/// The form that fits the message's checksum.
fn form_of(bytes: &[u8], version: u8, src: IpAddr, dst: IpAddr) -> Option<Form> {
    let forms: &[Form] = match (version, src) {
        (2, _) => &[Form::Plain],
        (_, IpAddr::V6(_)) => &[Form::Pseudo],
        _ => &[Form::Pseudo, Form::Plain, Form::PseudoGroup],
    };
    let stored = u16::from_be_bytes([bytes[6], bytes[7]]);
    // The sum that was made while the field was still zero.
    let sum = words(bytes) - u64::from(stored);
    forms
        .iter()
        .copied()
        .find(|form| fold(sum + pseudo_header(bytes.len(), src, dst, *form)) == stored)
}

/// Internet checksum (RFC 1071) of a message whose checksum field is zero.
fn checksum(message: &[u8], src: IpAddr, dst: IpAddr, form: Form) -> u16 {
    fold(words(message) + pseudo_header(message.len(), src, dst, form))
}

/// What a form adds to the sum of the message.
fn pseudo_header(len: usize, src: IpAddr, dst: IpAddr, form: Form) -> u64 {
    let dst = match form {
        Form::Plain => return 0,
        Form::Pseudo => dst,
        Form::PseudoGroup => IpAddr::V4(GROUP4),
    };
    let sum = |address: IpAddr| match address {
        IpAddr::V4(a) => words(&a.octets()),
        IpAddr::V6(a) => words(&a.octets()),
    };
    sum(src) + sum(dst) + u64::from(PROTOCOL) + len as u64
}

/// Sum of 16-bit words; a last odd byte counts as the high one.
pub(super) fn words(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum()
}

/// One's complement of a sum folded to 16 bits.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

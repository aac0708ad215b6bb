//! Any bytes as a VRRP message and as an IPv4 packet.

use hapair::vrrp::packet::MAX_INTERVAL_V3;
use hapair::vrrp::{Advert, frame};

use super::bytes::Bytes;

/// First a byte that says the family and whether the checksum is put right, then two addresses, then the message.
pub(crate) fn run(data: &[u8]) {
    if let Ok(ip) = frame::parse_ipv4(data) {
        assert!(ip.payload.len() + 20 <= data.len());
        let built = frame::build_ipv4(ip.src, ip.dst, ip.ttl, 1, ip.payload);
        assert_eq!(frame::parse_ipv4(&built), Ok(ip));
        message(ip.payload, ip.src.into(), ip.dst.into());
    }
    let mut bytes = Bytes(data);
    let kind = bytes.byte();
    let (src, dst) = (bytes.address(kind & 1 == 1), bytes.address(kind & 2 == 2));
    let mut bytes = bytes.0.to_vec();
    message(&bytes, src, dst);
    if kind & 4 == 4 && bytes.len() >= 8 {
        // A fuzzer does not guess checksums.
        bytes[6..8].fill(0);
        let mut sum: u64 = bytes
            .chunks(2)
            .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
            .sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        bytes[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        message(&bytes, src, dst);
    }
}

fn message(bytes: &[u8], src: std::net::IpAddr, dst: std::net::IpAddr) {
    let Ok((advert, form)) = Advert::decode(bytes, src, dst) else {
        return;
    };
    assert!(matches!((advert.version, src.is_ipv4()), (2, true) | (3, _)));
    assert_eq!(advert.addresses.len(), usize::from(bytes[3]));
    assert!(advert.addresses.iter().all(|a| a.is_ipv4() == src.is_ipv4()));
    assert!(advert.interval <= if advert.version == 2 { 255 } else { MAX_INTERVAL_V3 });
    let again = advert.encode(src, dst, form);
    assert_eq!(Advert::decode(&again, src, dst).map(|(a, _)| a), Ok(advert.clone()));
    // The reserved bits of version 3 are the only thing that is not kept.
    if advert.version == 2 || bytes[4] & 0xf0 == 0 {
        assert_eq!(again, bytes);
    }
}

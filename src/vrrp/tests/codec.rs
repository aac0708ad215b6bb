//! Any bytes as packets.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn advert() -> impl Strategy<Value = (Advert, IpAddr, IpAddr, Form)> {
    let bytes = proptest::collection::vec(any::<[u8; 16]>(), 0..=255);
    let form = prop_oneof![Just(Form::Plain), Just(Form::Pseudo), Just(Form::PseudoGroup)];
    (
        any::<(bool, bool, u8, u8, u16, u8, [u8; 8], [u8; 16], [u8; 16])>(),
        bytes,
        form,
    )
        .prop_map(
            |((v2, v6, vrid, priority, interval, auth_type, auth_data, src, dst), list, form)| {
                let v6 = v6 && !v2;
                let address = |b: [u8; 16]| {
                    if v6 {
                        IpAddr::from(b)
                    } else {
                        IpAddr::from([b[0], b[1], b[2], b[3]])
                    }
                };
                let advert = Advert {
                    version: if v2 { 2 } else { 3 },
                    vrid,
                    priority,
                    interval: if v2 {
                        interval & 0xff
                    } else {
                        // 0 is malformed there.
                        (interval & packet::MAX_INTERVAL_V3).max(1)
                    },
                    auth_type: if v2 { auth_type } else { 0 },
                    auth_data: if v2 { auth_data } else { [0; 8] },
                    addresses: list.into_iter().map(address).collect(),
                };
                (advert, address(src), address(dst), form)
            },
        )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded((advert, src, dst, form) in advert()) {
        let bytes = advert.encode(src, dst, form);
        let (decoded, seen) = Advert::decode(&bytes, src, dst).unwrap();
        prop_assert_eq!(&decoded, &advert);
        prop_assert_eq!(decoded.encode(src, dst, seen), bytes);
    }

    #[test]
    fn a_flipped_bit_is_noticed((advert, src, dst, form) in advert(), bit in any::<usize>()) {
        let mut bytes = advert.encode(src, dst, form);
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let decoded = Advert::decode(&bytes, src, dst);
        // Another form of checksum may fit by chance; the same content may not.
        prop_assert!(decoded.map(|(d, _)| d) != Ok(advert));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), v6 in any::<bool>(), start in 0..4u8) {
        let src = if v6 { IpAddr::from([1u8; 16]) } else { peer() };
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [0x21, 0x31, 0x45, *first][usize::from(start)];
        }
        let _ = Advert::decode(&bytes, src, GROUP);
        let _ = frame::parse_ipv4(&bytes);
        let mut b = Bench::new(settings(100));
        b.give(Input::Packet(Packet { src, dst: GROUP, ttl: 255, payload: &bytes }));
    }

    #[test]
    fn passwords_compare_as_bytes_do(a in any::<[u8; 8]>(), b in any::<[u8; 8]>()) {
        prop_assert_eq!(same_bytes(&a, &b), a == b);
        prop_assert!(same_bytes(&a, &a));
    }
}

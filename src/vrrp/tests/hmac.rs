//! `auth_hmac`: the answers that keepalived's own test knows, and what each receiver makes of a message.

mod clocks;

use std::sync::Arc;

use proptest::prelude::*;

use super::super::hmac::{AntiReplay, Key, Mode, Refusal, Sequence, TRAILER};
use super::*;

/// 1754-..: the seconds of the vectors are 0x68000000, and a half.
const REAL: Duration = Duration::new(0x6800_0000, 500_000_000);
/// test/auth_hmac_test.c of keepalived 2.4.2: IPv4, checksum of RFC 9568, over the message alone.
const IPV4: &str = "3133c80100644402c00002640101000068000000800000001b84bc4e8e43892dc6d98448f8ee2265";
/// The same, IPv6: the checksum is over the trailer too.
const IPV6: &str =
    "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000c8c56146ebfd66ee10ec4d8186461b78";

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

fn key(id: u8) -> Key {
    let secret: [u8; 32] = std::array::from_fn(|n| n as u8 ^ id ^ 1);
    Key::new(id, &secret).unwrap()
}

fn auth(ids: &[u8], active: u8, mode: Mode) -> AuthHmac {
    AuthHmac {
        keys: ids.iter().map(|id| key(*id)).collect(),
        active,
        mode,
        anti_replay: AntiReplay::Time { window: 5 },
    }
}

/// A router of the vectors: version 3, id 51.
fn of_the_vectors(source: &str, vip: &str) -> Settings {
    Settings {
        version: 3,
        source: source.parse().unwrap(),
        vips: vec![vip.parse().unwrap()],
        auth: None,
        auth_hmac: Some(Arc::new(auth(&[1], 1, Mode::Enforce))),
        form: Form::Plain,
        ..settings(200)
    }
}

fn v4() -> Settings {
    of_the_vectors("198.51.100.10", "192.0.2.100")
}

fn v6() -> Settings {
    Settings {
        peers: Some(vec![]),
        ..of_the_vectors("fe80::10", "fe80::100")
    }
}

/// A router with those settings that hears what another one at `src` sends.
struct Ear {
    bench: Bench,
    src: IpAddr,
    dst: IpAddr,
    real: Duration,
}

impl Ear {
    fn of(s: &Settings) -> Ear {
        let (src, own, dst): (IpAddr, IpAddr, IpAddr) = match s.source {
            IpAddr::V4(_) => (s.source, [198, 51, 100, 11].into(), GROUP),
            IpAddr::V6(_) => (s.source, "fe80::20".parse().unwrap(), "fe80::20".parse().unwrap()),
        };
        let peers = s.peers.as_ref().map(|_| vec![Peer { ip: src, ttl: (0, 255) }]);
        let bench = Bench::new(Settings {
            source: own,
            peers,
            priority: 100,
            ..s.clone()
        });
        let real = REAL;
        Ear { bench, src, dst, real }
    }

    /// The reason why it does not count.
    fn hear(&mut self, payload: &[u8]) -> Option<Ignored> {
        let before = self.bench.router.snapshot(self.bench.now).statistics;
        self.bench.router.set_real_time(self.bench.now, self.real);
        self.bench.router.neighbours = neighbours::Neighbours::default();
        let (src, dst) = (self.src, self.dst);
        self.bench.give(Input::Packet(Packet {
            src,
            dst,
            ttl: 255,
            payload,
        }));
        let after = self.bench.router.snapshot(self.bench.now).statistics;
        let neighbours = self.bench.router.neighbours(self.bench.now);
        let refused = neighbours.iter().find_map(|n| match n.verdict {
            Verdict::Refused(reason) => Some(reason),
            _ => None,
        });
        let counted = u64::from(refused.is_none());
        assert_eq!(
            (after.received, after.ignored),
            (before.received + counted, before.ignored + 1 - counted)
        );
        refused
    }

    fn refused(&mut self, payload: &[u8]) -> Refusal {
        match self.hear(payload) {
            Some(Ignored::Hmac(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

/// Puts the checksum right, whatever else is wrong.
fn with_checksum(mut message: Vec<u8>, src: IpAddr, dst: IpAddr) -> Vec<u8> {
    message[6..8].fill(0);
    let summed = if src.is_ipv6() {
        message.len()
    } else {
        message.len() - TRAILER
    };
    let mut sum = packet::words(&message[..summed]);
    if let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) {
        sum += packet::words(&src.octets()) + packet::words(&dst.octets()) + 112 + summed as u64;
    }
    message[6..8].copy_from_slice(&packet::fold(sum).to_be_bytes());
    message
}

/// What a router of those settings sends at a time.
fn sent(s: &Settings, sequence: &Sequence, real: Duration) -> Vec<u8> {
    let dst = if s.peers.is_some() {
        "fe80::20".parse().unwrap()
    } else {
        GROUP
    };
    let auth = s.auth_hmac.as_ref().unwrap();
    let mut out = vec![1, 2, 3];
    let advert = s.advert(s.priority);
    advert.encode_sealed_into(s.source, dst, s.form, auth.seal(sequence, Time::ZERO, real), &mut out);
    out.split_off(3)
}

#[test]
fn the_known_answers_are_sent() {
    assert_eq!(sent(&v4(), &Sequence::default(), REAL), bytes(IPV4));
    assert_eq!(sent(&v6(), &Sequence::default(), REAL), bytes(IPV6));
}

#[test]
fn the_known_answers_count_once() {
    for (s, vector) in [(v4(), IPV4), (v6(), IPV6)] {
        let mut ear = Ear::of(&s);
        assert_eq!(ear.hear(&bytes(vector)), None);
        assert_eq!(ear.refused(&bytes(vector)), Refusal::Replay);
        assert_eq!(ear.bench.router.snapshot(ear.bench.now).statistics.hmac_replayed, 1);
    }
}

#[test]
fn every_byte_is_covered_but_the_checksum() {
    for (s, vector) in [(v4(), IPV4), (v6(), IPV6)] {
        let good = bytes(vector);
        let trailer = good.len() - TRAILER;
        // Priority, interval, and of the trailer: seconds, fraction, counter, HMAC. Another VIP is another cluster's.
        let flipped = [2, 5, trailer + 7, trailer + 8, trailer + 11, trailer + 12, trailer + 27];
        for at in flipped {
            let mut ear = Ear::of(&s);
            let mut bad = good.clone();
            bad[at] ^= 1;
            let bad = with_checksum(bad, ear.src, ear.dst);
            assert_eq!(ear.refused(&bad), Refusal::WrongKey, "byte {at}");
            // Nothing is remembered of it.
            assert_eq!(ear.hear(&good), None, "byte {at}");
        }
        for at in [trailer, trailer + 2, trailer + 3] {
            let mut ear = Ear::of(&s);
            let mut bad = good.clone();
            bad[at] ^= 2;
            let bad = with_checksum(bad, ear.src, ear.dst);
            assert_eq!(ear.refused(&bad), Refusal::Malformed, "byte {at}");
        }
        let mut ear = Ear::of(&s);
        let mut bad = good.clone();
        bad[trailer + 1] = 9;
        let bad = with_checksum(bad, ear.src, ear.dst);
        assert_eq!(ear.refused(&bad), Refusal::UnknownKey(9));
        assert_eq!(ear.bench.router.snapshot(ear.bench.now).statistics.hmac_unknown_key, 1);
    }
    // Another form of checksum is another checksum, and it is not covered.
    let s = Settings {
        form: Form::Pseudo,
        ..v4()
    };
    let other = sent(&s, &Sequence::default(), REAL);
    assert_ne!(other[6..8], bytes(IPV4)[6..8]);
    assert_eq!(other[8..], bytes(IPV4)[8..]);
    assert_eq!(Ear::of(&v4()).hear(&other), None);
}

#[test]
fn source_and_virtual_router_are_covered() {
    let mut ear = Ear::of(&v4());
    ear.src = [198, 51, 100, 12].into();
    assert_eq!(ear.refused(&bytes(IPV4)), Refusal::WrongKey);
    let mut ear = Ear::of(&Settings { vrid: 52, ..v4() });
    let mut other = bytes(IPV4);
    other[1] = 52;
    let other = with_checksum(other, ear.src, ear.dst);
    assert_eq!(ear.refused(&other), Refusal::WrongKey);
}

#[test]
fn a_trailer_without_a_key_and_a_key_without_a_trailer() {
    let bare = Settings {
        auth_hmac: None,
        ..v4()
    };
    assert_eq!(Ear::of(&bare).refused(&bytes(IPV4)), Refusal::Unwanted);
    let unsigned = bare.advert(200).encode(v4().source, GROUP, Form::Plain);
    assert_eq!(Ear::of(&v4()).refused(&unsigned), Refusal::Missing);
    for mode in [Mode::Permissive, Mode::ReceiveOnly] {
        let lax = Settings {
            auth_hmac: Some(Arc::new(auth(&[1], 1, mode))),
            ..v4()
        };
        let mut ear = Ear::of(&lax);
        assert_eq!(ear.hear(&unsigned), None, "{mode:?}");
        assert_eq!(ear.hear(&bytes(IPV4)), None, "{mode:?}");
        // What is signed must be signed rightly.
        assert_eq!(ear.refused(&bytes(IPV4)), Refusal::Replay, "{mode:?}");
        let signs = lax
            .auth_hmac
            .as_ref()
            .unwrap()
            .seal(&Sequence::default(), Time::ZERO, REAL)
            .is_some();
        assert_eq!(signs, mode == Mode::Permissive);
    }
    // One byte more or less is no trailer.
    for len in [bytes(IPV4).len() - 1, bytes(IPV4).len() + 1] {
        let mut odd = bytes(IPV4);
        odd.resize(len, 0);
        let reason = Ear::of(&v4()).hear(&odd);
        assert!(
            matches!(reason, Some(Ignored::Packet(PacketError::TooLong { .. }))),
            "{reason:?}"
        );
    }
}

#[test]
fn version_2_is_signed_too_and_its_password_field_is_empty() {
    let s = Settings {
        version: 2,
        auth: None,
        ..v4()
    };
    let message = sent(&s, &Sequence::default(), REAL);
    assert_eq!(message.len(), 8 + 4 + 8 + TRAILER);
    assert_eq!(message[12..20], [0; 8]);
    assert_eq!(
        packet::fold(packet::words(&message[..20])),
        0,
        "the checksum ends before the trailer"
    );
    let mut ear = Ear::of(&s);
    assert_eq!(ear.hear(&message), None);
    let mut bad = message;
    bad[15] = 1;
    let bad = with_checksum(bad, ear.src, ear.dst);
    assert_eq!(Ear::of(&s).refused(&bad), Refusal::WrongKey);
}

#[test]
fn a_key_is_rotated_without_a_missed_advert() {
    let with = |ids: &[u8], active| Settings {
        auth_hmac: Some(Arc::new(auth(ids, active, Mode::Enforce))),
        ..v4()
    };
    let steps = [(&[1][..], 1), (&[1, 2], 1), (&[1, 2], 2), (&[2], 2)];
    let mut ear = Ear::of(&with(&[1], 1));
    let sequence = Sequence::default();
    for (n, (ids, active)) in steps.into_iter().enumerate() {
        // The receiver first, then the sender: each hears the other in every step of both.
        let same = Effective {
            priority: 100,
            fault: false,
            pending: false,
        };
        let ours = Settings {
            source: ear.bench.router.settings().source,
            priority: 100,
            ..with(ids, active)
        };
        ear.bench.give(Input::Configure(Box::new(ours), same));
        for (ids, active) in [steps[n.saturating_sub(1)], (ids, active)] {
            ear.real += secs(1.0);
            assert_eq!(
                ear.hear(&sent(&with(ids, active), &sequence, ear.real)),
                None,
                "{ids:?} {active}"
            );
        }
        // A new key does not make an old message new.
        let old = sent(&with(ids, active), &Sequence::default(), ear.real - secs(1.0));
        assert_eq!(ear.refused(&old), Refusal::Replay);
    }
    assert_eq!(
        ear.refused(&sent(&with(&[1], 1), &sequence, ear.real)),
        Refusal::UnknownKey(1)
    );
}

#[test]
fn senders_are_bounded_and_strangers_are_none() {
    let mut ear = Ear::of(&v4());
    let from = |n: u8, key: u8| {
        let s = Settings {
            source: [198, 51, 100, n].into(),
            auth_hmac: Some(Arc::new(auth(&[key], key, Mode::Enforce))),
            ..v4()
        };
        sent(&s, &Sequence::default(), REAL)
    };
    for n in 20..250 {
        ear.src = [198, 51, 100, n].into();
        let mut forged = from(n, 2);
        forged[8 + 4 + 1] = 1;
        assert_eq!(ear.refused(&forged), Refusal::WrongKey);
    }
    assert_eq!(ear.bench.router.snapshot(ear.bench.now).clocks.len(), 0);
    for n in 20..250 {
        ear.src = [198, 51, 100, n].into();
        assert_eq!(ear.hear(&from(n, 1)), None);
        assert_eq!(ear.refused(&from(n, 1)), Refusal::Replay);
    }
    assert_eq!(ear.bench.router.snapshot(ear.bench.now).clocks.len(), 8);
}

#[test]
fn keys_have_32_to_64_bytes_and_are_not_shown() {
    for (len, good) in [(31, false), (32, true), (64, true), (65, false)] {
        assert_eq!(Key::new(1, &vec![7; len]).is_some(), good, "{len}");
    }
    assert!(Key::new(0, &[7; 32]).is_none());
    assert_eq!(format!("{:?}", auth(&[3], 3, Mode::Enforce).keys), "[Key(3, ***)]");
}

proptest! {
    #[test]
    fn stamps_grow_whatever_the_clock_does(steps in prop::collection::vec(-4_000i64..4_000, 1..60)) {
        let (auth, sequence) = (auth(&[1], 1, Mode::Enforce), Sequence::default());
        let mut real = REAL;
        let mut last: Option<Vec<u8>> = None;
        for step in steps {
            let change = Duration::from_millis(step.unsigned_abs());
            real = if step < 0 { real - change } else { real + change };
            let mut out = Vec::new();
            v4().advert(1).encode_sealed_into(v4().source, GROUP, Form::Plain, auth.seal(&sequence, Time::ZERO, real), &mut out);
            let stamp = out[16..24].to_vec();
            let seconds = u32::from_be_bytes(out[16..20].try_into().unwrap());
            // Nobody else's clock is set back: what is further than the window would be refused by all.
            prop_assert!(i64::from(seconds) - real.as_secs() as i64 <= 5);
            if let Some(last) = last.filter(|last| u32::from_be_bytes(last[..4].try_into().unwrap()) as u64 <= real.as_secs() + 5) {
                prop_assert!(stamp > last);
            }
            last = Some(stamp);
        }
    }

    #[test]
    fn nothing_that_is_changed_counts(at in 0usize..40, bit in 0u8..8) {
        let mut bad = bytes(IPV4);
        bad[at] ^= 1 << bit;
        let checked = with_checksum(bad.clone(), v4().source, GROUP);
        for bad in [bad, checked] {
            if bad != bytes(IPV4) {
                prop_assert!(Ear::of(&v4()).hear(&bad).is_some());
            }
        }
    }
}

//! Signed adverts that are old, or changed on the way: recorded on the wire and sent again, or made with a key.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use hapair::vrrp::Form;
use hapair::vrrp::hmac::{AntiReplay, AuthHmac, Key, Mode, Sequence, TRAILER};
use hapair::vrrp::packet::GROUP4;

use crate::forger::{Forger, advert};
use crate::hmac::{WINDOW, pair, transitions, ways};
use crate::net::{Engine, FAST, Host, Net, Pair, Tap, VIP, able, until};

fn mac(net: &Net) -> Vec<u8> {
    let line = net.ip("-o link show dev eth0");
    let mac = line.split_whitespace().skip_while(|w| *w != "link/ether").nth(1);
    let bytes = mac
        .unwrap()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect()
}

/// Where the VRRP message begins in a frame, if there is one in it.
fn message_at(frame: &[u8]) -> Option<usize> {
    match frame.get(12..14)? {
        [0x08, 0x00] if *frame.get(23)? == 112 => Some(34),
        [0x86, 0xdd] if *frame.get(20)? == 112 => Some(54),
        _ => None,
    }
}

/// Frames of the wire, as somebody records them.
struct Recorder {
    tap: Tap,
    frames: Vec<Vec<u8>>,
}

impl Recorder {
    fn on(net: &Net) -> Recorder {
        Recorder {
            tap: Tap::on(net, "eth0"),
            frames: Vec::new(),
        }
    }

    /// The last advert of that host and that priority.
    fn last(&mut self, from: &Host, priority: u8) -> Vec<u8> {
        self.frames.extend(std::iter::from_fn(|| self.tap.next()));
        let mac = mac(&from.net);
        let is = |frame: &&Vec<u8>| {
            frame[6..12] == mac && message_at(frame).is_some_and(|at| frame.get(at + 2) == Some(&priority))
        };
        self.frames.iter().rfind(is).expect("an advert was recorded").clone()
    }
}

/// Sends a frame again from another host until the standby or owner has refused it ten times; it moves nothing.
fn sent_again(mut frame: Vec<u8>, from: &Host, tap: &Tap, heard_by: &Host) {
    // Else the bridge takes the port of the one for the port of the other.
    frame[6..12].copy_from_slice(&mac(&from.net));
    let (before, refused) = (transitions(heard_by), heard_by.counter("hmac_replayed"));
    until("it is refused", || {
        tap.send(&frame);
        heard_by.counter("hmac_replayed") >= refused + 10
    });
    assert_eq!(transitions(heard_by), before, "{}", heard_by.log());
}

#[test]
fn an_advert_that_is_sent_again_moves_nothing() {
    if !able(&[]) {
        return;
    }
    for (vip, more) in ways() {
        let mut pair = pair(vip, &more);
        let stranger = pair.stranger();
        let (mut recorder, again) = (Recorder::on(&pair.b.net), Tap::on(&stranger.net, "eth0"));
        let heard = pair.b.counter("received");
        until("one more advert", || pair.b.counter("received") > heard);
        let better = recorder.last(&pair.a, 201);
        pair.a.end(libc::SIGTERM);
        pair.settle(false, vip);
        let farewell = recorder.last(&pair.a, 0);
        // The better adverts of a host that is gone take nothing from the owner.
        sent_again(better, &stranger, &again, &pair.b);
        pair.settle(false, vip);
        // And its farewell, once it is there again, does not replace it.
        pair.a.start(Engine::Agent);
        pair.settle(true, vip);
        sent_again(farewell, &stranger, &again, &pair.b);
        pair.settle(true, vip);
        assert_eq!(pair.b.counter("became_master"), 1, "{more:?}");
    }
}

/// Where forged adverts come from.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

/// Signs with the key of the pair, at a real time of its own.
struct Signer(AuthHmac);

impl Signer {
    fn new() -> Signer {
        Signer(AuthHmac {
            keys: vec![Key::new(1, &[1; 32]).unwrap()],
            active: 1,
            mode: Mode::Enforce,
            anti_replay: AntiReplay::Monotonic,
        })
    }

    /// A signed advert to the group, made so many seconds from now, or ago.
    fn sign(&self, priority: u8, seconds: i64) -> Vec<u8> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let off = Duration::from_secs(seconds.unsigned_abs());
        let real = if seconds < 0 { now - off } else { now + off };
        let seal = self.0.seal(&Sequence::default(), Duration::ZERO, real);
        let mut message = Vec::new();
        advert(3, priority).encode_sealed_into(STRANGER.into(), IpAddr::V4(GROUP4), Form::Pseudo, seal, &mut message);
        message
    }
}

fn owner_and_forger() -> (Pair, Host, Forger) {
    let pair = pair(VIP, &[FAST.to_owned(), FAST.to_owned()]);
    let stranger = pair.stranger();
    stranger.net.ip("route add 224.0.0.0/4 dev eth0");
    let forger = Forger::new(&stranger.net);
    (pair, stranger, forger)
}

#[test]
fn what_is_too_old_or_was_changed_moves_nothing_and_what_is_neither_does() {
    if !able(&[]) {
        return;
    }
    let (pair, _stranger, forger) = owner_and_forger();
    let signer = Signer::new();
    let before = [&pair.a, &pair.b].map(transitions);
    let refused = |counter: &str, make: &dyn Fn() -> Vec<u8>| {
        let hosts = [&pair.a, &pair.b];
        let so_far = hosts.map(|host| host.counter(counter));
        until("it is refused", || {
            forger.send(STRANGER, GROUP4, 255, &make());
            hosts
                .map(|host| host.counter(counter))
                .iter()
                .zip(so_far)
                .all(|(now, so_far)| *now >= so_far + 10)
        });
        assert_eq!(hosts.map(transitions), before, "{counter}");
    };
    let outside = WINDOW as i64 + 2;
    refused("hmac_stale", &|| signer.sign(254, -outside));
    refused("hmac_stale", &|| signer.sign(254, outside));
    // A trailer of a harmless advert, behind another one whose checksum is right.
    refused("hmac_wrong_key", &|| {
        let harmless = signer.sign(100, 0);
        let mut message = advert(3, 254).encode(STRANGER.into(), IpAddr::V4(GROUP4), Form::Pseudo);
        message.extend(&harmless[harmless.len() - TRAILER..]);
        message
    });
    // A part of a trailer is none.
    refused("ignored", &|| {
        let mut message = signer.sign(254, 0);
        message.truncate(message.len() - 4);
        message
    });
    // With the right time and nothing changed it is believed.
    until("the owner yields", || {
        forger.send(STRANGER, GROUP4, 255, &signer.sign(254, 0));
        !pair.a.owns(VIP) && !pair.b.owns(VIP)
    });
    assert_eq!(pair.a.counter("left_master"), 1);
}

#[test]
fn a_clock_that_is_nearly_outside_the_window_is_told_and_does_no_harm() {
    if !able(&[]) {
        return;
    }
    let (pair, _stranger, forger) = owner_and_forger();
    let signer = Signer::new();
    let before = [&pair.a, &pair.b].map(transitions);
    let most = WINDOW as i64 * 3 / 4;
    until("both tell it", || {
        forger.send(STRANGER, GROUP4, 255, &signer.sign(100, most));
        [&pair.a, &pair.b].iter().all(|host| {
            let warnings = host.status()["warnings"].to_string();
            warnings.contains(&format!("the clock of {STRANGER} is ")) && warnings.contains("set the clocks right")
        })
    });
    assert_eq!([&pair.a, &pair.b].map(transitions), before);
    assert_eq!([&pair.a, &pair.b].map(|host| host.counter("hmac_stale")), [0, 0]);
    pair.settle(true, VIP);
}

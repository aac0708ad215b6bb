//! Packets of those who have no say: another cluster's, forged ones, broken ones.

use std::net::IpAddr;

use hapair::vrrp::hmac::{AntiReplay, AuthHmac, Key, Mode, Sequence};
use hapair::vrrp::packet::{GROUP4, GROUP6};
use hapair::vrrp::{Input, Output, Packet, State};

use super::daemon::Daemon;
use super::rng::Rng;
use super::world::{Event, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Another cluster with our virtual router id, and our password.
    Foreign,
    /// Unicast from who is no peer.
    NoPeer,
    /// Multicast that came over a router.
    Routed,
    /// Multicast to a unicast router, or the other way round.
    Destination,
    /// Version 2 with another password.
    Password,
    /// Version 2 without a password.
    NoPassword,
    /// Version 3 with an interval of 0, version 2 with another one than ours.
    Interval,
    Version,
    Checksum,
    Cut,
    /// Not signed, where all must sign.
    Unsigned,
    /// Signed with another secret.
    WrongKey,
    /// What was heard before, once more.
    Replayed,
}

const ATTACKS: [Attack; 13] = [
    Attack::Foreign,
    Attack::NoPeer,
    Attack::Routed,
    Attack::Destination,
    Attack::Password,
    Attack::NoPassword,
    Attack::Interval,
    Attack::Version,
    Attack::Checksum,
    Attack::Cut,
    Attack::Unsigned,
    Attack::WrongKey,
    Attack::Replayed,
];

impl World {
    /// One kind of them, for a while.
    pub(crate) fn strangers(&mut self, rng: &mut Rng, interval: u64) {
        let forged = [Attack::Unsigned, Attack::WrongKey, Attack::Replayed];
        let attack = match rng.chance(30) {
            _ if self.plan.hmac.is_some() && rng.chance(50) => rng.pick(&forged),
            true => Attack::Foreign,
            false => rng.pick(&ATTACKS),
        };
        self.note(|| format!("a stranger: {attack:?}"));
        let (count, pause) = (rng.between(3, 30), rng.between(interval / 20, interval));
        let one = rng.chance(30).then(|| rng.below(self.nodes.len() as u64) as usize);
        let priority = [0, 255][rng.below(2) as usize];
        for n in 0..count {
            let priority = if rng.chance(50) { priority } else { rng.below(256) as u8 };
            for to in (0..self.nodes.len()).filter(|to| one.is_none_or(|one| one == *to)) {
                let at = self.now + n * pause + rng.below(1000);
                self.push(
                    at,
                    Event::Stranger {
                        to,
                        attack,
                        priority,
                        seed: rng.next(),
                    },
                );
            }
        }
    }

    /// It is counted, perhaps told, and changes nothing.
    pub(crate) fn stranger(&mut self, to: usize, attack: Attack, priority: u8, seed: u64) {
        if !self.strangers_come || self.nodes[to].stalled {
            return;
        }
        let mut rng = Rng(seed);
        let member = rng.below(self.plan.members.len() as u64) as usize;
        let Some((src, dst, ttl, payload)) = self.forge(to, member, attack, priority, &mut rng) else {
            return;
        };
        self.tell_time(to);
        let now = self.local(to);
        let Some(daemon @ Daemon::Agent(_)) = &mut self.nodes[to].daemon else {
            return;
        };
        let look = |daemon: &Daemon| {
            let state = daemon.routers().map(|r| {
                let s = r.snapshot(now);
                let counted = (s.statistics.received, s.statistics.sent, s.statistics.became_master);
                (s.state, s.since, s.priority, s.raised, s.owner, s.held, counted)
            });
            (state.collect::<Vec<_>>(), daemon.next_timer())
        };
        let before = look(daemon);
        let ignored = daemon.routers().nth(member).unwrap().snapshot(now).statistics.ignored;
        let packet = Packet {
            src,
            dst,
            ttl,
            payload: &payload,
        };
        let out = daemon.handle(now, member, Input::Packet(packet));
        let counted = daemon.routers().nth(member).unwrap().snapshot(now).statistics.ignored > ignored;
        let hears = matches!(daemon.state(member), State::Backup | State::Master);
        let moved = look(daemon) != before;
        let said = out.iter().any(|(_, o)| !matches!(o, Output::Alarm(_)));
        if moved || said || hears != counted {
            self.fail(format!(
                "h{to}.{member}: a stranger ({attack:?}, priority {priority}) had a say: changed {moved}, counted {counted}, {out:?}"
            ));
        }
        self.totals.strangers += 1;
    }

    /// Right in every way but one; `None`: not possible here.
    fn forge(
        &self,
        to: usize,
        member: usize,
        attack: Attack,
        priority: u8,
        rng: &mut Rng,
    ) -> Option<(IpAddr, IpAddr, u8, Vec<u8>)> {
        let s = &self.nodes[to].settings[member];
        let v6 = s.source.is_ipv6();
        let other = (to + 1 + rng.below(self.nodes.len() as u64 - 1) as usize) % self.nodes.len();
        let mut src = self.plan.source(other, member);
        let group = if v6 { IpAddr::V6(GROUP6) } else { IpAddr::V4(GROUP4) };
        let mut dst = if s.peers.is_some() { s.source } else { group };
        let mut ttl = 255;
        let mut advert = s.advert(priority);
        let enforced = s.auth_hmac.as_ref().is_some_and(|auth| auth.mode == Mode::Enforce);
        if attack == Attack::Replayed && !enforced {
            return None;
        }
        if attack == Attack::Replayed {
            let heard = self.nodes[to].heard.clone().filter(|letter| letter.member == member)?;
            return Some((heard.src, heard.dst, 255, heard.payload.to_vec()));
        }
        let nobody = |n: u8| match v6 {
            true => format!("fe80::bad:{n:x}").parse().unwrap(),
            false => IpAddr::from([10, 0, 200, n]),
        };
        match attack {
            Attack::Foreign => {
                let count = rng.below(4) as u8;
                advert.addresses = (0..count).map(nobody).collect();
                if s.peers.is_none() && rng.chance(50) {
                    src = nobody(250);
                }
            }
            Attack::NoPeer => {
                s.peers.as_ref()?;
                src = nobody(rng.below(255) as u8);
                ttl = rng.between(1, 255) as u8;
            }
            Attack::Routed if s.peers.is_none() => ttl = rng.below(255) as u8,
            Attack::Destination => dst = if s.peers.is_some() { group } else { s.source },
            Attack::Password if s.auth.is_some() => advert.auth_data[rng.below(8) as usize] ^= 1,
            Attack::NoPassword if s.auth.is_some() => (advert.auth_type, advert.auth_data) = (0, [0; 8]),
            Attack::Interval if s.version == 2 => {
                advert.interval = (s.interval_field() + 1) % 256 * rng.below(2) as u16
            }
            Attack::Interval | Attack::Checksum | Attack::Cut => {}
            Attack::Unsigned if enforced => {}
            Attack::WrongKey if s.auth_hmac.is_some() => {}
            Attack::Version if !v6 => advert.version = 5 - s.version,
            _ => return None,
        }
        let mut payload = Vec::new();
        let wrong = AuthHmac {
            keys: vec![Key::new(s.auth_hmac.as_ref().map_or(1, |auth| auth.active), &[99; 32])?],
            active: s.auth_hmac.as_ref().map_or(1, |auth| auth.active),
            mode: Mode::Enforce,
            anti_replay: AntiReplay::Monotonic,
        };
        let last = Sequence::default();
        let seal = wrong
            .seal(&last, self.local(to), self.real(to))
            .filter(|_| attack == Attack::WrongKey);
        advert.encode_sealed_into(src, dst, s.form, seal, &mut payload);
        match attack {
            Attack::Interval if s.version == 3 => {
                // The encoder would not write a 0: the sum grows by what the field loses.
                let field = u16::from_be_bytes([payload[4], payload[5]]);
                let sum = u32::from(u16::from_be_bytes([payload[6], payload[7]])) + u32::from(field);
                let sum = (sum & 0xffff) as u16 + (sum >> 16) as u16;
                payload[4..6].fill(0);
                payload[6..8].copy_from_slice(&sum.to_be_bytes());
            }
            Attack::Checksum => payload[6] ^= 1 << rng.below(8),
            Attack::Cut => payload.truncate(rng.below(payload.len() as u64) as usize),
            _ => {}
        }
        Some((src, dst, ttl, payload))
    }
}

//! A packet's way in: what counts goes to the owner's or the standby's side, the rest is counted and said once.

use std::net::IpAddr;
use std::time::Duration;

use super::event::{Alarm, Output, Packet, State};
use super::ignored::Ignored;
use super::neighbours::{Heard, Neighbour, Said, Verdict};
use super::packet::{Message, PacketError};
use super::role::{Owner, Role};
use super::router::Router;
use super::rules;
use super::time::Time;

/// Senders whose differing lists are remembered, so that a flood of forged ones costs no memory.
const MAX_MISMATCHED: usize = 32;

impl Router {
    pub(super) fn packet(&mut self, now: Time, packet: &Packet<'_>, out: &mut Vec<Output>) {
        if matches!(self.role, Role::Stopped | Role::Fault { .. }) {
            return;
        }
        let (message, form) = match rules::read(&self.own.settings, packet) {
            Ok(read) => read,
            Err(reason) => {
                // What it says is of interest, though it does not count: two owners may refuse each other.
                let message = match reason {
                    Ignored::Packet(_) => None,
                    _ => Message::read(packet.payload, packet.src, packet.dst).ok(),
                };
                return self.refuse(now, packet.src, reason, message.as_ref().map(|(m, _)| m), out);
            }
        };
        if rules::is_foreign(&self.vips, &message) {
            return self.refuse(now, packet.src, Ignored::Foreign, Some(&message), out);
        }
        let agreed = rules::agree(&self.own.settings, &message).and_then(|()| self.authenticate(now, &message, out));
        if let Err(reason) = agreed {
            return self.refuse(now, packet.src, reason, Some(&message), out);
        }
        self.statistics.received += 1;
        self.statistics.zero_received += u64::from(message.priority == 0);
        if self.own.settings.version == 3 && packet.src.is_ipv4() {
            self.learned = Some(form);
        }
        let owner = match &self.role {
            Role::Backup(standby) => standby.owner,
            _ => None,
        };
        let known = owner.is_some_and(|o| o.src == packet.src);
        if !(self.own.settings.skip_check_adv_addr && known) {
            self.compare_vips(packet.src, &message, out);
        }
        let verdict = match self.mismatched.contains(&packet.src) {
            true => Verdict::ListDiffers,
            false => Verdict::Accepted,
        };
        let heard = self.heard(packet.src, Some(&message));
        self.neighbours.note(now, heard, verdict);
        let interval = self.own.settings.interval_of(message.interval);
        let sender = Owner {
            src: packet.src,
            priority: message.priority,
            interval,
            heard: now,
        };
        match &mut self.role {
            Role::Stopped | Role::Fault { .. } => {}
            Role::Backup(standby) => standby.hear(&self.own, now, sender),
            Role::Master(_) => self.as_master(now, sender, out),
        }
    }

    fn compare_vips(&mut self, src: IpAddr, message: &Message<'_>, out: &mut Vec<Output>) {
        let same = message.addresses().eq(self.own.settings.vips.iter().copied()) || {
            // The order does not matter; keepalived looks for each of its own.
            let mut theirs: Vec<IpAddr> = message.addresses().collect();
            theirs.sort_unstable();
            theirs == self.vips
        };
        let raised = self.mismatched.contains(&src);
        if same && raised {
            self.mismatched.retain(|s| *s != src);
            out.push(Output::Alarm(Alarm::VipMatch { src }));
        } else if !same && !raised && self.mismatched.len() < MAX_MISMATCHED {
            self.mismatched.push(src);
            out.push(Output::Alarm(Alarm::VipMismatch {
                src,
                theirs: message.addresses().collect(),
            }));
        }
    }

    /// A packet does not count. It is counted; of a neighbour that is known for such packets nothing more is said.
    fn refuse(
        &mut self,
        now: Time,
        src: IpAddr,
        reason: Ignored,
        message: Option<&Message<'_>>,
        out: &mut Vec<Output>,
    ) {
        self.statistics.ignored += 1;
        match reason {
            Ignored::Foreign => self.statistics.foreign += 1,
            Ignored::AuthType(_) | Ignored::Password => self.statistics.auth_failures += 1,
            Ignored::Hmac(refusal) => self.count_refusal(refusal),
            Ignored::Packet(PacketError::Checksum) => self.statistics.checksum_errors += 1,
            _ => {}
        }
        let heard = self.heard(src, message);
        if self.neighbours.note(now, heard, Verdict::Refused(reason)) {
            out.push(Output::Alarm(match (reason, message) {
                (Ignored::Foreign, Some(message)) => Alarm::Foreign {
                    src,
                    theirs: message.addresses().collect(),
                },
                _ => Alarm::Ignored { src, reason },
            }));
        }
    }

    fn heard<'m>(&self, src: IpAddr, message: Option<&'m Message<'m>>) -> Heard<'m> {
        let said = message.map(|m| Said {
            version: m.version,
            priority: m.priority,
            shares_a_vip: !self.vips.is_empty() && !rules::is_foreign(&self.vips, m),
            interval: match m.version {
                2 => Duration::from_secs(m.interval.into()),
                _ => Duration::from_millis(10) * m.interval.into(),
            },
        });
        let peers = self.own.settings.peers.as_ref();
        Heard {
            src,
            is_peer: peers.is_some_and(|peers| peers.iter().any(|p| p.ip == src)),
            message,
            said,
        }
    }

    /// Who was heard in the last minutes, whether it counts or not; those that count first.
    pub fn neighbours(&self, now: Time) -> Vec<Neighbour> {
        self.neighbours.list(now)
    }

    /// While this router is owner: somebody who announces one of its VIPs too, and whose adverts it refuses. Both own it, as far as
    /// can be told from here.
    pub fn second_owner(&self, now: Time) -> Option<IpAddr> {
        let other = self
            .neighbours
            .refused_owner(now, self.own.settings.interval(), self.own.settings.down_adverts);
        other.filter(|_| self.state() == State::Master)
    }
}

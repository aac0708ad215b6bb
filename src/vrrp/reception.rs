//! A packet's way in: what counts goes to the owner's or the standby's side, the rest is counted and said once.

use std::mem::discriminant;
use std::net::IpAddr;

use super::Time;
use super::backup::Owner;
use super::event::{Alarm, Output, Packet, State};
use super::machine::Router;
use super::packet::{Message, PacketError};
use super::rules::{self, Ignored};

/// Alarms remembered at most, so that a flood of forged senders costs no memory.
const MAX_ALARMS: usize = 32;

/// Whether the same is wrong with both, whatever the figures.
fn same_kind(a: &Ignored, b: &Ignored) -> bool {
    match (a, b) {
        (Ignored::Hmac(a), Ignored::Hmac(b)) => discriminant(a) == discriminant(b),
        _ => discriminant(a) == discriminant(b),
    }
}

impl Router {
    pub(super) fn packet(&mut self, now: Time, packet: &Packet<'_>, out: &mut Vec<Output>) {
        if matches!(self.state, State::Stopped | State::Fault) {
            return;
        }
        let (advert, form) = match rules::read(&self.s, packet) {
            Ok(read) => read,
            Err(reason) => return self.ignored(packet.src, reason, None, out),
        };
        if rules::is_foreign(&self.vips, &advert) {
            return self.ignored(packet.src, Ignored::Foreign, Some(&advert), out);
        }
        let agreed = rules::agree(&self.s, &advert).and_then(|()| self.authenticate(now, &advert, out));
        if let Err(reason) = agreed {
            return self.ignored(packet.src, reason, Some(&advert), out);
        }
        self.statistics.received += 1;
        self.statistics.zero_received += u64::from(advert.priority == 0);
        if self.s.version == 3 && packet.src.is_ipv4() {
            self.learned = Some(form);
        }
        let known = self.owner.is_some_and(|o| o.src == packet.src);
        if !(self.s.skip_check_adv_addr && known) {
            self.compare_vips(packet.src, &advert, out);
        }
        let interval = self.s.interval_of(advert.interval);
        let sender = Owner {
            src: packet.src,
            priority: advert.priority,
            interval,
            heard: now,
        };
        match self.state {
            State::Master => self.as_master(now, sender, out),
            _ => self.as_backup(now, sender),
        }
    }

    fn compare_vips(&mut self, src: IpAddr, advert: &Message<'_>, out: &mut Vec<Output>) {
        let same = advert.addresses().eq(self.s.vips.iter().copied()) || {
            // The order does not matter; keepalived looks for each of its own.
            let sorted = |mut list: Vec<IpAddr>| {
                list.sort_unstable();
                list
            };
            sorted(advert.addresses().collect()) == sorted(self.s.vips.clone())
        };
        let raised = self.mismatched.contains(&src);
        if same && raised {
            self.mismatched.retain(|s| *s != src);
            out.push(Output::Alarm(Alarm::VipMatch { src }));
        } else if !same && !raised && self.mismatched.len() < MAX_ALARMS {
            self.mismatched.push(src);
            out.push(Output::Alarm(Alarm::VipMismatch {
                src,
                theirs: advert.addresses().collect(),
            }));
        }
    }

    fn ignored(&mut self, src: IpAddr, reason: Ignored, message: Option<&Message<'_>>, out: &mut Vec<Output>) {
        if reason == Ignored::Own {
            return;
        }
        self.statistics.ignored += 1;
        match reason {
            Ignored::Foreign => self.statistics.foreign += 1,
            Ignored::AuthType(_) | Ignored::Password => self.statistics.auth_failures += 1,
            Ignored::Hmac(refusal) => self.count_refusal(refusal),
            Ignored::Packet(PacketError::Checksum) => self.statistics.checksum_errors += 1,
            _ => {}
        }
        let known = |(s, r): &(IpAddr, Ignored)| *s == src && same_kind(r, &reason);
        if self.alarms.len() < MAX_ALARMS && !self.alarms.iter().any(known) {
            self.alarms.push((src, reason));
            out.push(Output::Alarm(match (reason, message) {
                (Ignored::Foreign, Some(message)) => Alarm::Foreign {
                    src,
                    theirs: message.addresses().collect(),
                },
                _ => Alarm::Ignored { src, reason },
            }));
        }
    }
}

//! `auth_hmac` of a router: what it signs with, whom it believes, whose clock is wrong.

use std::time::Duration;

use super::event::{Alarm, Output};
use super::hmac::{AntiReplay, Mode, Refusal, Said, Seal};
use super::ignored::Ignored;
use super::packet::Message;
use super::router::Router;
use super::time::Time;

impl Router {
    /// Tells the router the real time (since 1970) at a moment of its own clock. The stamps of `auth_hmac` are compared with it,
    /// so whoever hands in packets says it before, again whenever the real clock may have been set. A router that was never
    /// told believes no stamp.
    pub fn set_real_time(&mut self, now: Time, real: Duration) {
        self.real = (now, real);
    }

    /// What its next message is signed with, at `now` of its own clock and `real` time after 1970; `None`: it is not signed.
    pub fn seal(&self, now: Time, real: Duration) -> Option<Seal<'_>> {
        self.own.settings.auth_hmac.as_ref()?.seal(&self.sequence, now, real)
    }

    /// Whether a message that counts otherwise comes from somebody with a key. The last thing that is looked at: it costs most,
    /// and what is remembered of a sender is of messages that count.
    pub(super) fn authenticate(
        &mut self,
        now: Time,
        message: &Message<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Ignored> {
        let (auth, signed) = match (&self.own.settings.auth_hmac, &message.signed) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(Refusal::Unwanted.into()),
            (Some(auth), None) if auth.mode == Mode::Enforce => return Err(Refusal::Missing.into()),
            (Some(_), None) => return Ok(()),
            (Some(auth), Some(signed)) => (auth, signed),
        };
        let (told, real) = self.real;
        let real = (real + now.saturating_sub(told)).saturating_sub(told.saturating_sub(now));
        self.senders.allow(self.own.settings.peers.as_ref().map_or(0, Vec::len));
        let ahead = auth.check(&mut self.senders, signed, real)?;
        let src = signed.src;
        match (self.senders.note(auth.anti_replay, src, ahead), auth.anti_replay) {
            (Said::Near, AntiReplay::Time { window }) => {
                out.push(Output::Alarm(Alarm::Clock { src, ahead, window }));
            }
            (Said::Fine, _) => out.push(Output::Alarm(Alarm::ClockFine { src })),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn count_refusal(&mut self, refusal: Refusal) {
        let n = &mut self.statistics;
        n.auth_failures += 1;
        *match refusal {
            Refusal::Missing => &mut n.hmac_missing,
            Refusal::Malformed | Refusal::Unwanted => &mut n.hmac_malformed,
            Refusal::UnknownKey(_) => &mut n.hmac_unknown_key,
            Refusal::WrongKey => &mut n.hmac_wrong_key,
            Refusal::Stale { .. } => &mut n.hmac_stale,
            Refusal::Replay => &mut n.hmac_replayed,
        } += 1;
    }
}

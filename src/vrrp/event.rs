//! What happens to a router, and what it wants done.

use std::net::IpAddr;
use std::time::Duration;

use super::hmac::Ahead;
use super::ignored::Ignored;
use super::packet::{Advert, Form};
use super::settings::Settings;
use super::time::Time;
use super::track::Effective;

/// State of the election, in keepalived's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Takes no part.
    Stopped,
    /// FAULT: kept out of the election by something that it tracks.
    Fault,
    /// In election, and does not own the addresses.
    Backup,
    /// Owns the addresses.
    Master,
}

/// Why a state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The router starts.
    Start,
    /// The owner was silent for too long, or there was none.
    Silence,
    /// The owner said that it stops.
    OwnerStopped,
    /// The owner has a lower priority.
    Preempt,
    /// Somebody has a higher priority, or an equal one and a higher address.
    Higher(IpAddr),
    /// Something tracked fails.
    Fault,
    /// What was tracked is good again.
    Recovered,
    /// Another member of the sync group.
    Group,
    /// On command: the addresses were given away.
    Handover,
    /// On command: the addresses were taken from an owner that lives, or before the usual wait was over.
    Takeover,
    /// Adverts cannot be sent, so the others must elect somebody else.
    CannotSend,
    /// We did not run for longer than the others wait, so they must have elected another owner.
    Stalled,
    /// The router stops.
    Stop,
}

/// A received packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'b> {
    /// Sender.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// What follows the IP header.
    pub payload: &'b [u8],
}

/// What happens to a router.
#[derive(Debug, Clone)]
pub enum Input<'b> {
    /// It begins; `crashed`: its last life did not end by [`Input::Stop`].
    Start {
        /// No clean end before.
        crashed: bool,
    },
    /// A VRRP packet for its id arrived on its interface.
    ///
    /// A caller that was kept from running hands in what has piled up before the next [`Input::Tick`].
    Packet(Packet<'b>),
    /// [`Router::next_timer`] has passed.
    Tick,
    /// What is tracked changed.
    Tracked(Effective),
    /// New settings for the same router ([`Settings::same_router`]), and the effective priority under them.
    Configure(Box<Settings>, Effective),
    /// Somebody else removed an address.
    AddressLost,
    /// The interface has another hardware address: the neighbours must learn it.
    NewHardwareAddress,
    /// Give the addresses away and do not take over from a living owner for that long (`None`: until [`Input::Resume`]).
    ///
    /// If nobody takes them, they come back after the usual wait for an owner's silence: three adverts and the skew time, unless
    /// written otherwise. Nobody announces that it would take them, so a standby that lives is for the caller to look for.
    Handover(Option<Duration>),
    /// Do not take over from a living owner for that long (`None`: until [`Input::Resume`]). A silent one is replaced as ever.
    Hold(Option<Duration>),
    /// Become owner now, by announcing a priority above that of the owner that lives, so that any owner yields at once. The
    /// raised priority is announced for that long (`None`: until [`Input::Resume`]); it also ends when what is tracked lowers
    /// the effective priority, and with the ownership. Ends a hold.
    ///
    /// Does nothing where [`Router::takeover_refusal`](super::Router::takeover_refusal) has a reason.
    Takeover(Option<Duration>),
    /// Ends [`Input::Hold`], a handover's hold, the hold after a crash and the raised priority of a takeover.
    Resume,
    /// The advert of the last [`Output::Send`] could not be sent to anybody.
    Unsent,
    /// It ends.
    Stop,
}

/// What a router wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send to the group or to every peer.
    Send {
        /// What.
        advert: Advert,
        /// How its checksum is made.
        form: Form,
    },
    /// Put every address of the current settings on its interface that is not there yet.
    Acquire,
    /// Take every address off.
    Release,
    /// Announce every address to the neighbours this many times.
    Announce {
        /// Messages an address.
        count: u32,
    },
    /// The state changed.
    Transition {
        /// Old state.
        from: State,
        /// New state.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// The effective priority changed.
    Priority {
        /// Old.
        from: u8,
        /// New.
        to: u8,
    },
    /// While owner, a lower priority was heard.
    LowerHeard {
        /// From whom.
        src: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// Somebody should look.
    Alarm(Alarm),
}

/// Something is configured differently elsewhere. Each is raised once for a sender and a cause, and again when the sender has not
/// been heard for [`MEMORY`](super::MEMORY).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// An advert counts, though its VIP list is not ours.
    VipMismatch {
        /// Sender.
        src: IpAddr,
        /// Its list.
        theirs: Vec<IpAddr>,
    },
    /// The list of that sender is ours again.
    VipMatch {
        /// Sender.
        src: IpAddr,
    },
    /// Another cluster uses this virtual router id: no address of its list is ours. Its adverts do not count.
    Foreign {
        /// Sender.
        src: IpAddr,
        /// Its list.
        theirs: Vec<IpAddr>,
    },
    /// The clock of a sender differs from ours by more than half of what `auth_hmac` allows. Once it is by more than the whole,
    /// its adverts do not count, nor ours with it, and both may own the addresses.
    Clock {
        /// Sender.
        src: IpAddr,
        /// By how much.
        ahead: Ahead,
        /// What is allowed, in seconds.
        window: u16,
    },
    /// It does not any more.
    ClockFine {
        /// Sender.
        src: IpAddr,
    },
    /// A packet does not count.
    Ignored {
        /// Sender.
        src: IpAddr,
        /// Why.
        reason: Ignored,
    },
}

/// Counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Adverts that counted.
    pub received: u64,
    /// Adverts sent.
    pub sent: u64,
    /// Packets that did not count.
    pub ignored: u64,
    /// Of those, from another cluster: no address of its list is ours.
    pub foreign: u64,
    /// Of those, for their password, authentication type or `auth_hmac`.
    pub auth_failures: u64,
    /// Of those, because `auth_hmac` wants a trailer and there was none.
    pub hmac_missing: u64,
    /// Of those, because their trailer was malformed, or not expected.
    pub hmac_malformed: u64,
    /// Of those, because no key of that id is configured.
    pub hmac_unknown_key: u64,
    /// Of those, because their HMAC was wrong.
    pub hmac_wrong_key: u64,
    /// Of those, because their time stamp was further from our clock than the window.
    pub hmac_stale: u64,
    /// Of those, because they were not newer than the sender's last one.
    pub hmac_replayed: u64,
    /// Of those, for their checksum.
    pub checksum_errors: u64,
    /// Priority 0 heard.
    pub zero_received: u64,
    /// Priority 0 sent.
    pub zero_sent: u64,
    /// Times it became owner.
    pub became_master: u64,
    /// Times it ceased to be owner.
    pub left_master: u64,
}

/// A router's state for people and for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// State.
    pub state: State,
    /// When it was entered.
    pub since: Time,
    /// Why.
    pub cause: Cause,
    /// Effective priority.
    pub priority: u8,
    /// The priority that a takeover announces instead.
    pub raised: Option<u8>,
    /// A check has not answered yet: until it has, the router does not become owner.
    pub pending: bool,
    /// The owner that was heard last: address and priority.
    pub owner: Option<(IpAddr, u8)>,
    /// It does not take over from a living owner now, although it otherwise would.
    pub held: bool,
    /// `auth_hmac`: by how much the clock of each sender was ahead when it was heard last.
    pub clocks: Vec<(IpAddr, Ahead)>,
    /// Counters.
    pub statistics: Statistics,
}

//! VRRP packet codec and state machine: no I/O, no clock.
//!
//! [`packet`] and [`frame`] turn bytes into values and back, which packets count is decided in `rules`,
//! [`Router`] is one virtual router's election, [`Group`] keeps the routers of a sync group together, [`track`] turns
//! what is tracked into an effective priority.
//!
//! Where RFC 9568 and keepalived differ (both behave the same otherwise):
//!
//! | question | RFC 9568 | keepalived | here |
//! |---|---|---|---|
//! | version 3 checksum over IPv4 | message alone | with pseudo-header | both accepted, the peer's form sent |
//! | VIP list differs | may log | drops (up to 2.3.0) | accepted, alarm |
//! | VIP list that shares no address with ours | may log | drops (up to 2.3.0) | another cluster's: no say in any state, alarm |
//! | version 3 interval 0 | undefined | accepted, storms | malformed |
//! | unicast from who is no peer | – | accepted unless told otherwise | ignored |
//! | lower advert heard by an owner | send at once | send at once, gratuitous ARP again | as keepalived, at most ten times a second (or four times an interval) |
//! | an owner that yields to a higher one | silent | silent unless told otherwise | one last advert, so that the other one tells the neighbours again |
//! | lower advert heard by a standby that may preempt | ignored | ignored | ignored; but an owner whose own priority falls below ours is replaced after the skew time |
//! | checks that have not answered | – | FAULT, where they have no weight | does not become owner |
//! | who may move the addresses | anybody on the link | anybody on the link, with `auth_hmac` who has a key | as keepalived |
//! | adverts that cannot be sent | – | goes on | gives up, and does not put addresses on |
//! | priority 0 from who is not the owner | shortens the wait | shortens the wait | ignored; also the owner's, while a better one that was just heard lives |
//! | an advert of a lower owner right after that of a better one (version 3: with an interval of its own) | sets the wait | sets the wait | does not shorten the wait for the better one |
//! | an owner that was stopped for longer than its peers wait | – | goes on | steps down before anything else |

mod backup;
mod candidate;
mod command;
mod event;
pub mod frame;
mod group;
pub mod hmac;
mod ignored;
mod master;
mod neighbours;
pub mod packet;
mod reception;
mod role;
mod router;
mod rules;
mod sealing;
mod settings;
mod time;
pub mod track;

pub use command::TakeoverRefusal;
pub use event::{Alarm, Cause, Input, Output, Packet, Snapshot, State, Statistics};
pub use group::Group;
pub use hmac::AuthHmac;
pub use ignored::Ignored;
pub use neighbours::{MEMORY, Neighbour, Said, Verdict};
pub use packet::{Advert, Form, PacketError};
pub use router::Router;
pub use rules::same_bytes;
pub use settings::{GarpTimes, Peer, Settings};
pub use time::Time;

#[cfg(test)]
mod tests;

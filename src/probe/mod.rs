//! What a client sees through the VIP: HTTP, TCP, ARP.
//!
//! [`http_once`] asks once, [`Prober`] asks on a fixed schedule and keeps every answer, [`arp`] asks the segment who
//! owns an address, [`timeline`] turns samples into outages and stints (pure). Nothing here prints or knows of SSH.

pub mod arp;
mod http;
mod prober;
pub mod timeline;

pub use arp::Mac;
pub use http::{Answer, ProbeError, http_once, tcp_once};
pub use prober::{Live, ProbeConfig, ProbeTarget, Prober, Tally};
pub use timeline::{FailKind, Outage, Outcome, Sample, Seen, Span, Stint, Timeline};

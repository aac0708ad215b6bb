//! rtnetlink(7): interfaces and addresses, read, changed in batches, watched.

mod link;
mod message;
mod monitor;
mod requests;
mod socket;

#[cfg(test)]
pub(crate) use link::Link;
pub(crate) use link::{Assigned, Change, Links, NewAddress};
pub(crate) use monitor::Monitor;
pub(crate) use requests::Netlink;

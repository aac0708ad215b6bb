//! Step 1: the static network profile.
//!
//! `ifcfg-*` files on release 7 and wherever such a profile is in force, NetworkManager keyfiles elsewhere. An
//! existing profile keeps every key hapair has no opinion on, and a value that already means what is wanted keeps its
//! spelling, so that adopting a host does not restart its network for a pair of quotes.

mod ifcfg;
mod keyfile;
mod profile;
mod view;

pub(super) use profile::add;

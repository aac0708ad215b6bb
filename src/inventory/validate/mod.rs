//! What the values of an inventory mean together: ranges, references, what fits which network.

mod address;
mod election;
mod extra_files;
mod hmac;
mod hosts;
mod instance;
mod names;
mod nginx;
mod raw_instance;
mod script;
mod ssh;
mod system;
mod vrrp;
mod whole;

pub(super) use whole::inventory;

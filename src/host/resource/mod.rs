//! One file a kind of resource: what it is now, how that differs from what it should be, and making it so.

pub mod converge;
pub mod diff;
pub mod file;
pub mod firewall;
pub mod firewalld;
pub mod hostname;
pub mod network;
pub mod observed;
pub mod packages;
pub mod repositories;
pub mod selinux;
pub mod service;
pub mod worker;

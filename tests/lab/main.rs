//! Every command on twin hosts. Needs root; installs what the twins need.
//!
//! One pair of twins at a time: the machine has two cores, and a test that waits for an election should not compete.

mod support;
mod watch;

mod bad_cases;
mod bootstrap;
mod crash_sweep;
mod cut_off;
mod drift;
mod election;
mod engine;
mod foreign_cluster;
mod handover;
mod its_nginx;
mod load;
mod options;
mod reboot;
mod rollback;
mod saved_plan;
mod secrets;

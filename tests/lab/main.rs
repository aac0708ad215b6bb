//! Every command on twin hosts. Needs root; installs what the twins need.
//!
//! Two pairs of twins at a time, because most of a test is waiting; what is measured has the machine for itself.

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
mod preflight;
mod reboot;
mod rollback;
mod saved_plan;
mod secrets;

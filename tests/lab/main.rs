//! Every command on twin hosts. Needs root; installs what the twins need.
//!
//! One pair of twins at a time: the machine has two cores, and a test that waits for an election should not compete.

mod support;

mod bad_cases;
mod bootstrap;
mod cut_off;
mod election;
mod engine;
mod handover;
mod options;
mod reboot;
mod rollback;
mod saved_plan;
mod secrets;

//! `vrrp_track_process`: who runs. Processes are found in /proc; their end is told by the kernel where it can. Which of those
//! that have the name are meant is said in [`belonging`].

mod belonging;
mod connector;
mod event;
mod process_watch;
mod scan;
mod tracker;

pub(crate) use tracker::Processes;

//! One file a kind of resource: what it is now, how that differs from what it should be, making it so, putting it back,
//! and how all that is told.
//!
//! A kind is an implementation of [`kind::Kind`] and has its line in [`kinds`]: [`file`], [`edited`], [`directory`],
//! [`network`], [`selinux`], [`selinux_booleans`], [`firewall`], [`hostname`], [`packages`], [`package_group`],
//! [`repositories_set_aside`], [`media_copy`], [`service`]. An entry of the undo log is an implementation of [`undoing::Undoing`] in
//! the file of its kind and has its line in [`undoings`]. What drives them knows none: [`observe`], [`diff`],
//! [`converge`], [`boot`].

pub mod boot;
pub mod converge;
pub mod diff;
pub mod directory;
pub mod edited;
pub mod file;
pub mod firewall;
pub mod firewall_zone;
pub mod found;
pub mod hostname;
pub mod kind;
pub mod kinds;
pub mod media_copy;
pub mod network;
pub mod node;
pub mod observe;
pub mod observed;
pub mod package_group;
pub mod packages;
pub mod reaction;
pub mod repositories_set_aside;
pub mod saved_path;
pub mod selinux;
pub mod selinux_booleans;
pub mod service;
pub mod staged;
pub mod switch;
pub mod text_diff;
pub mod undoing;
pub mod undoings;
pub mod unit_before;
pub mod worker;
pub mod write;

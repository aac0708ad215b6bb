//! Inventory, facts and templates to a host's desired state.
//!
//! Everything here is a pure function of its arguments but [`Templates::with_overrides`], which reads the operator's
//! own templates. Each step of a bootstrap has a file; each appends [`Resource`]s in the order of [`Stage`]s.

mod assumed;
mod build;
mod error;
mod escape;
mod files;
mod firewall;
mod host_state;
mod hostname;
mod needs;
mod network;
mod nginx;
mod packages;
mod repositories;
mod secrets;
mod selinux;
mod templates;
mod vrrp;

pub use assumed::assumed_facts;
pub use error::DesiredError;
pub use files::{RenderedFile, files};
pub use host_state::host_state;
pub use secrets::Secrets;
pub use templates::Templates;

//! Step 8: keepalived.conf, the scripts that it runs, and the engine that reads it.

mod configuration;
mod engine;
mod instance;
mod scripts;

pub(super) use configuration::add;

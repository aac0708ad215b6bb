//! What stands around a change of resources: staging and validation before it, reactions after it.

pub mod check_config;
pub mod nginx_reload;
pub mod reactions;
pub mod staging;
pub mod step;
pub mod validate;

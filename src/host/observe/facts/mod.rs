//! What the host is, read from files, /proc, one `rpm` and one `systemctl`.

pub mod gather;
pub mod net;
pub mod system;

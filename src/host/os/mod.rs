//! Asking the machine and telling it: files, commands, units, packages, the segment's ARP and VRRP. Knows nothing of transactions
//! or resources.

pub mod arp;
pub mod clock;
pub mod disk;
pub mod error;
pub mod exec;
pub mod executor;
pub mod files;
pub mod http_get;
pub mod package_manager;
mod packet_socket;
pub mod private_json;
pub mod root;
pub mod rpm_erase;
pub mod systemd;
pub mod vrrp_listen;

//! Packets and interfaces: VRRP sockets, netlink, who else uses our addresses.

pub(super) mod duplicate;
pub(super) mod netlink;
pub(super) mod pacing;
pub(super) mod packet_socket;
pub(super) mod vrrp_socket;

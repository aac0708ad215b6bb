//! The daemon: event loop, sockets, netlink, scripts, notify, control socket.

pub mod config;

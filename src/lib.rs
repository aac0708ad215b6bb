//! hapair turns two bare CentOS hosts into one verified nginx high-availability pair.
//!
//! An operator writes one inventory and runs `hapair apply`. hapair connects to both hosts over SSH, brings each to the
//! state that the inventory describes, one host at a time, and ends by proving that exactly one of them owns the virtual IP (VIP) and answers
//! there. A VRRP engine on the hosts moves the VIP when its owner fails: hapair's own agent, or keepalived.
//!
//! # Two programs, one library
//!
//! * `hapair` (feature `cli`) runs where the operator sits. It carries the other program inside ([`payload`]).
//! * `hapair-agent` (feature `agent`) runs on the hosts, as two things: the executor that observes and changes a host
//!   ([`host`]), and the daemon that speaks VRRP ([`agent`]). It links neither SSH, TLS nor templates.
//!
//! # From an inventory to a pair
//!
//! 1. [`inventory`] reads the YAML file and checks all of it; every problem points at a line.
//! 2. [`remote`] opens one SSH connection per host, delivers the executor if it is missing, and exchanges frames with it.
//! 3. [`desired`] turns inventory, facts of the host and templates into a [`HostState`](state::HostState): a list of
//!    resources, such as a file, a package or a service.
//! 4. [`host`] compares that with what it observes and answers with a [`Plan`](state::Plan). Nothing has changed so far.
//! 5. [`rollout`] decides the order: standby first, a health gate, then the owner, then the proof.
//! 6. [`host`] makes each change in a transaction that outlives the connection, and reverts it if a step fails. What happens
//!    comes back as [`Event`](state::Event)s, and `cli` renders them.
//!
//! [`drill`] breaks one thing on purpose afterwards and measures the outage with [`probe`]. [`lab`] builds twins of both
//! hosts on the operator's own machine, so that all of this can be rehearsed.
//!
//! # Where to start reading
//!
//! [`state`] holds the words that both programs share, and [`state::frame`] the conversation between them. [`vrrp`] is the
//! election: a state machine without I/O and without a clock. [`keepalived`] reads `keepalived.conf`. These three use no
//! other module here.
//!
//! The modules depend on each other in one direction only; `tests/rooms` enforces it. `src/README.md` is a longer tour,
//! and says where to add what.

// The front page names modules that the agent alone does not have.
#![cfg_attr(not(feature = "cli"), allow(rustdoc::broken_intra_doc_links))]

pub mod keepalived;
pub mod state;
pub mod vrrp;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "agent")]
pub mod host;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod desired;
#[cfg(feature = "cli")]
pub mod drill;
#[cfg(feature = "cli")]
pub mod inventory;
#[cfg(feature = "cli")]
pub mod lab;
#[cfg(feature = "cli")]
pub mod payload;
#[cfg(feature = "cli")]
pub mod probe;
#[cfg(feature = "cli")]
pub mod remote;
#[cfg(feature = "cli")]
pub mod rollout;

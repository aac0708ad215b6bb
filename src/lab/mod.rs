//! Twin hosts for rehearse and for the tests.
//!
//! A lab is made from an inventory: two hosts with its names, addresses and interface names, each a real systemd as
//! PID 1 (`systemd-nspawn`), joined by a bridge inside network namespaces, and a third namespace, the *controller*,
//! that holds everything the hosts would talk to: their gateways and DNS addresses, the package mirrors under their real
//! names, and the upstreams of the load balancer. No interface, route or address of a lab exists in the machine's own
//! network namespace, so nothing can leak in either direction; whoever wants to talk to a twin must first
//! [`enter`](Lab::enter) the controller's namespace.
//!
//! # What is a stand-in for CentOS 7
//! * The programs come from Debian 12 (systemd 252, OpenSSH 9.2, firewalld 1.3, dnf 4 as `yum`): newer than CentOS 7's.
//! * `network.service` is a script of ours that reads `ifcfg-*` by CentOS 7's rules. NetworkManager is installed but
//!   off (Debian's cannot read ifcfg files); with [`LabSpec::nm`] it owns the interface through a keyfile instead.
//! * nginx and keepalived are Debian's binaries in RPMs of nginx.org's and CentOS's layout, signed by a key of the lab.
//! * The packages of "Development Tools" are empty but for their names.
//! * SELinux is only its configuration file: the kernel here has it off, `getenforce` says `Disabled`.
//! * `rpm -q` knows the base system as empty packages with Debian's versions.
//!
//! # Where things are
//! State of a lab: `/run/hapair/lab/<name>/`. Network namespaces: `/run/netns/hp-<name>-{net,ctl}`. Cgroups:
//! `hapair-lab/<name>/` in each tree that systemd uses. Images, shared by all labs and kept: `/var/cache/hapair/lab/`.
//! All names follow from the lab's name, so that [`down`] finds what a killed [`Lab::up`] left behind.

mod cgroup;
mod error;
mod guest;
mod hosts;
mod image;
mod keys;
mod network;
mod paths;
mod process;
mod requirements;
mod services;
mod spec;

mod run;

pub use error::LabError;
pub use requirements::{Requirement, install_requirements, requirements};
pub use run::{HostStatus, Lab, LabStatus, Progress, UpOptions, down, list, purge};
pub use spec::{LabSpec, Segment, Sudo, TwinSpec};

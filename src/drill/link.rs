//! What the drill needs of a conversation with a host: small enough to be played by a script in tests.

use std::future::Future;

use crate::remote::{Link, RemoteError};
use crate::state::{Reply, Request};

/// A conversation with one host's executor.
pub trait HostLink {
    /// The host's name in the inventory.
    fn host(&self) -> &str;

    /// Ethernet addresses of the host's interfaces, lower case with colons.
    fn macs(&self) -> Vec<String>;

    /// Sends a request and does not wait for its reply.
    fn send(&self, request: &Request) -> impl Future<Output = Result<(), RemoteError>>;

    /// The next reply. Must be cancel-safe: dropping the future before it is ready loses no reply.
    fn recv(&mut self) -> impl Future<Output = Result<Reply, RemoteError>>;
}

impl HostLink for Link {
    fn host(&self) -> &str {
        Link::host(self)
    }

    fn macs(&self) -> Vec<String> {
        self.facts().interfaces.iter().map(|i| i.mac.clone()).collect()
    }

    async fn send(&self, request: &Request) -> Result<(), RemoteError> {
        Link::send(self, request).await
    }

    async fn recv(&mut self) -> Result<Reply, RemoteError> {
        Link::recv(self).await
    }
}

//! The proof at the end: exactly one owner, and the VIP answers as hapair's own nginx, seen from outside.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::gate::{Gate, Until};
use crate::inventory::{Side, VipEndpoint};
use crate::probe;
use crate::rollout::error::{RolloutError, RolloutErrorKind, unexpected};
use crate::rollout::interrupt::Interrupt;
use crate::rollout::progress::Progress;
use crate::rollout::reach::context::Context;
use crate::rollout::reach::member::Member;
use crate::rollout::reach::pair::Pair;
use crate::state::{HEALTH_PATH, HostStatus, Reply, Request};

/// From where a VIP was seen to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// From the controller, through the network.
    Controller,
    /// From the standby, because the controller cannot reach the VIP.
    Standby,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// An answer with the owner's own header.
    Http,
    /// A port that speaks TLS takes connections. No handshake was made, and nothing says who takes them: the owner is
    /// known by the hosts' word.
    Connection,
}

/// One VIP that was seen to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The address.
    pub vip: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Host that owns it.
    pub owner: String,
    /// From where.
    pub from: Vantage,
    /// What was seen.
    pub proof: Proof,
}

impl std::fmt::Display for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (address, owner) = (SocketAddr::new(self.vip, self.port), &self.owner);
        match self.proof {
            Proof::Http => write!(f, "http://{address} answers from {owner}"),
            Proof::Connection => write!(
                f,
                "https://{address} takes connections (no TLS handshake was made), {owner} owns the address"
            ),
        }
    }
}

const ATTEMPT: Duration = Duration::from_millis(1500);

/// Proves that each VIP has one owner and answers as that owner; retries until `timeout`.
///
/// # Errors
/// Names the VIP and what came instead of the owner's answer.
pub async fn verify(
    cx: &Context<'_>,
    pair: &mut Pair,
    timeout: Duration,
    interrupt: Interrupt,
) -> Result<Vec<Verification>, RolloutError> {
    if cx.inventory.vrrp.is_none() {
        return Ok(Vec::new());
    }
    let began = Instant::now();
    let gate = Gate {
        inventory: cx.inventory,
        observer: cx.observer,
        timeout,
        interrupt,
    };
    let mut statuses = gate.one_owner(pair, Until::Owned).await?;
    let mut proven = Vec::new();
    let endpoints = cx.inventory.vip_endpoints();
    if endpoints.is_empty() {
        cx.observer.tell(Progress::Warning {
            host: None,
            message: "no nginx server of the inventory listens on a VIP: ownership was verified, an answer was not"
                .to_owned(),
        });
    }
    for endpoint in endpoints {
        proven.push(loop {
            let owner = owner_of(cx, &statuses, endpoint.vip);
            match answers(pair, endpoint, &owner, &statuses).await? {
                Ok(from) => {
                    break Verification {
                        vip: endpoint.vip,
                        port: endpoint.port,
                        owner,
                        from,
                        proof: if endpoint.tls { Proof::Connection } else { Proof::Http },
                    };
                }
                Err(why) if began.elapsed() > timeout => {
                    let message = format!("{}:{} does not answer as {owner}: {why}", endpoint.vip, endpoint.port);
                    return Err(RolloutError::of(RolloutErrorKind::Failed, message)
                        .hint("the address is on the owner's interface, so look at nginx and the firewall there"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            // Also where Ctrl-C is heard.
            statuses = gate.one_owner(pair, Until::Owned).await?;
        });
    }
    for status in &statuses {
        let disabled = status.disabled_checks.iter().map(ToString::to_string);
        for message in disabled.chain(status.warnings.iter().cloned()) {
            cx.observer.warn(&status.host, message);
        }
    }
    for v in &proven {
        let from = match v.from {
            Vantage::Controller => "",
            Vantage::Standby => " (seen from the standby: this machine cannot reach the VIP)",
        };
        cx.observer.tell(Progress::Fact {
            host: Some(v.owner.clone()),
            what: match v.proof {
                Proof::Http => format!("owns {} and answers on port {}{from}", v.vip, v.port),
                Proof::Connection => format!(
                    "owns {}, whose port {} takes connections; no TLS handshake was made{from}",
                    v.vip, v.port
                ),
            },
        });
    }
    Ok(proven)
}

fn owner_of(cx: &Context<'_>, statuses: &[HostStatus; 2], vip: IpAddr) -> String {
    let instance = cx.inventory.vrrp.iter().flat_map(|v| &v.instances);
    let instance = instance
        .filter(|i| i.virtual_ipaddress.iter().any(|v| v.address.addr() == vip))
        .map(|i| &i.name);
    let owner = instance
        .flat_map(|name| statuses.iter().filter(move |s| s.owns(name)))
        .next();
    owner.map(|s| s.host.clone()).unwrap_or_default()
}

/// Asks from here, and where the network does not let us, from the standby.
async fn answers(
    pair: &mut Pair,
    endpoint: VipEndpoint,
    owner: &str,
    statuses: &[HostStatus; 2],
) -> Result<Result<Vantage, String>, RolloutError> {
    let VipEndpoint { vip, port, tls } = endpoint;
    let address = SocketAddr::new(vip, port);
    let standby = Side::first_if(statuses[Side::First].host != owner);
    if tls {
        return Ok(takes_connections(&mut pair[standby], address).await);
    }
    let outside = match probe::http_once(address, &vip.to_string(), HEALTH_PATH, ATTEMPT).await {
        Ok(answer) if answer.status == 200 && answer.node.as_deref() == Some(owner) => {
            return Ok(Ok(Vantage::Controller));
        }
        // Somebody answers, so the network lets us through: no other vantage can make this right.
        Ok(answer) => {
            return Ok(Err(format!(
                "status {}, node `{}`",
                answer.status,
                answer.node.unwrap_or_default()
            )));
        }
        Err(e) => e.to_string(),
    };
    let member = &mut pair[standby];
    let request = Request::Fetch {
        url: format!("http://{address}{HEALTH_PATH}"),
        timeout_ms: 1500,
    };
    match member.ask(&request).await? {
        Reply::Fetched { status: 200, node, .. } if node == owner => Ok(Ok(Vantage::Standby)),
        Reply::Fetched { status, node, error } => Ok(Err(format!(
            "from here: {outside}; from {}: status {status}, node `{node}` {error}",
            member.host()
        ))),
        other => Err(unexpected(member.host(), &other)),
    }
}

/// Through TLS nothing says which host answers, and the executor speaks none: a connection counts, and the owner is known
/// by the hosts' word.
async fn takes_connections(standby: &mut Member, address: SocketAddr) -> Result<Vantage, String> {
    let Err(outside) = probe::tcp_once(address, ATTEMPT).await else {
        return Ok(Vantage::Controller);
    };
    let request = Request::Connect {
        address: address.to_string(),
        timeout_ms: 1500,
    };
    match standby.order(request).await {
        Ok(()) => Ok(Vantage::Standby),
        Err(inside) => Err(format!("from here: {outside}; from {inside:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_was_not_made_is_not_claimed() {
        let mut seen = Verification {
            vip: "fd00::200".parse().expect("an address"),
            port: 443,
            owner: "web1".into(),
            from: Vantage::Standby,
            proof: Proof::Connection,
        };
        assert_eq!(
            seen.to_string(),
            "https://[fd00::200]:443 takes connections (no TLS handshake was made), web1 owns the address"
        );
        (seen.proof, seen.port) = (Proof::Http, 80);
        assert_eq!(seen.to_string(), "http://[fd00::200]:80 answers from web1");
        assert_eq!(serde_json::to_value(&seen).expect("json")["proof"], "http");
    }
}

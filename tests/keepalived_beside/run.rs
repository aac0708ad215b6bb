//! Runs one case with one engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use hapair::vrrp::{Advert, Form, frame};
use serde_json::Value;

use crate::case::{Case, PATIENCE, Peer, Step};
use crate::host::{Engine, Host, PEER_MAC};
use crate::record::{Aspect, Flows, Frame, Phase, Record, Until, told};

/// Scripts that run beside each other have ended, and what goes out with a transition has gone.
const SETTLE: Duration = Duration::from_millis(500);
/// Within it a daemon that is told to stop has stopped.
const STOP: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(10);

struct Run {
    host: Host,
    record: Record,
    frames: Vec<Frame>,
    flows: Flows,
    /// Who speaks on the wire, and when it does next.
    peer: Option<(Peer, Instant)>,
    /// When it spoke first in this phase.
    heard_peer: Option<Instant>,
    /// Lines of lists that were told in earlier phases.
    said: usize,
    checked: Vec<String>,
}

/// What the engine does with the case. `number` tells runs apart that are made at the same time.
pub(crate) fn run(case: &Case, engine: Engine, log: &Path, number: usize) -> Record {
    let mut run = Run {
        host: Host::new(case, engine, number),
        record: Record::default(),
        frames: Vec::new(),
        flows: Flows::default(),
        peer: None,
        heard_peer: None,
        said: 0,
        checked: Vec::new(),
    };
    for step in &case.before {
        run.take(step);
    }
    run.host.start(engine, log);
    run.begin("start");
    for (step, words) in &case.steps {
        if step.happens() {
            run.finish_phase();
            run.begin(words);
        }
        run.take(step);
    }
    run.finish_phase();
    run.begin("stop");
    run.stop();
    run.finish(Until::Stopped);
    run.record
}

impl Run {
    fn begin(&mut self, after: &str) {
        let after = after.to_owned();
        self.heard_peer = None;
        self.record.phases.push(Phase {
            after,
            ..Phase::default()
        });
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Owner => {
                self.until(PATIENCE, |run| run.adverts() > 0);
                self.until(SETTLE, |_| false);
            }
            Step::Adverts(wanted) => {
                let end = self.adverts() + wanted;
                self.until(PATIENCE, |run| run.adverts() >= end);
            }
            Step::Wait(time) => self.until(*time, |_| false),
            Step::Flag(name, turn) => self.host.flag(name, *turn),
            Step::Peer(peer) => self.peer = peer.clone().map(|p| (p, Instant::now())),
            Step::Link(interface, turn) => self.host.link(interface, *turn),
            Step::Ip(arguments) => drop(self.host.net.ip(arguments)),
            Step::Process(turn) => self.host.process(*turn),
            Step::Reload(name) => self.host.reload(name),
        }
    }

    /// Adverts of this phase in which the host does not give up.
    fn adverts(&self) -> usize {
        self.frames
            .iter()
            .filter(|f| matches!(f, Frame::Advert(a) if a.priority != 0))
            .count()
    }

    /// Reads, and speaks for the other router, until that holds, the time is over or the daemon has ended.
    fn until(&mut self, longest: Duration, done: impl Fn(&Run) -> bool) {
        let end = Instant::now() + longest;
        loop {
            self.read();
            if done(self) || Instant::now() >= end || self.host.ended() {
                return;
            }
            if let Some((peer, next)) = &mut self.peer
                && Instant::now() >= *next
            {
                self.heard_peer.get_or_insert_with(Instant::now);
                self.host.tap.send(&advert(peer));
                *next += peer.every;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn read(&mut self) {
        while let Some(bytes) = self.host.tap.next() {
            self.frames.extend(Frame::parse(&bytes));
        }
    }

    fn finish_phase(&mut self) {
        self.finish(Until::Now(self.heard_peer));
    }

    /// Puts what the phase has brought into the record.
    fn finish(&mut self, until: Until) {
        self.read();
        let frames = std::mem::take(&mut self.frames);
        let said = self.host.list("said");
        let new_checks: Vec<String> = (self.host.list("checked").into_iter())
            .filter(|c| !self.checked.contains(c))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let fifo = self.host.fifo_lines();
        let (addresses, routes) = look(&self.host);
        let phase = self.record.phases.last_mut().unwrap();
        phase.add(Aspect::Adverts, self.flows.lines(&frames, until));
        phase.add(Aspect::Told, told(&frames));
        phase.add(Aspect::Scripts, said[self.said.min(said.len())..].iter().cloned());
        phase.add(Aspect::Checks, new_checks.iter().cloned());
        phase.add(Aspect::Fifo, fifo);
        phase.add(Aspect::Addresses, addresses);
        phase.add(Aspect::Routes, routes);
        self.said = said.len();
        self.checked.extend(new_checks);
    }

    fn stop(&mut self) {
        let by_itself = self.host.ended();
        self.host.signal(libc::SIGTERM);
        self.until(STOP, |_| false);
        let line = if !self.host.ended() {
            self.host.kill();
            drop(self.host.result());
            "does not stop".to_owned()
        } else if by_itself {
            format!("ended by itself, {}", self.host.result())
        } else {
            format!("stopped, {}", self.host.result())
        };
        // What its scripts of the stop still have to say.
        let (settled, end) = (Instant::now() + SETTLE, Instant::now() + PATIENCE);
        while Instant::now() < settled || (self.host.scripts_run() && Instant::now() < end) {
            self.read();
            std::thread::sleep(LOOK);
        }
        self.record.phases.last_mut().unwrap().add(Aspect::End, [line]);
    }
}

/// The frame that the other router sends.
fn advert(peer: &Peer) -> Vec<u8> {
    let ipv6 = peer.vips.first().is_some_and(IpAddr::is_ipv6);
    let group = if ipv6 {
        IpAddr::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12))
    } else {
        Ipv4Addr::new(224, 0, 0, 18).into()
    };
    let dst = peer.dst.unwrap_or(group);
    let hundredths = peer.every.as_millis() as u16 / 10;
    let mut auth_data = [0; 8];
    let password = peer.auth.as_deref().unwrap_or_default().as_bytes();
    auth_data[..password.len()].copy_from_slice(password);
    let advert = Advert {
        version: peer.version,
        vrid: peer.vrid,
        priority: peer.priority,
        interval: if peer.version == 2 {
            hundredths / 100
        } else {
            hundredths
        },
        auth_type: u8::from(peer.auth.is_some()),
        auth_data,
        addresses: peer.vips.clone(),
    };
    let form = if peer.version == 2 { Form::Plain } else { Form::Pseudo };
    let (mut out, packet) = match dst {
        IpAddr::V4(to) => {
            let src = Ipv4Addr::new(10, 77, 0, 2);
            let payload = advert.encode(src.into(), dst, form);
            let mac = ethernet(&dst);
            (
                [&mac[..], &PEER_MAC, &[0x08, 0x00]].concat(),
                frame::build_ipv4(src, to, peer.ttl, 1, &payload),
            )
        }
        IpAddr::V6(to) => {
            let src = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, 2);
            let payload = advert.encode(src.into(), dst, form);
            let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, 112, peer.ttl];
            packet.extend(src.octets());
            packet.extend(to.octets());
            packet.extend(payload);
            ([&ethernet(&dst)[..], &PEER_MAC, &[0x86, 0xdd]].concat(), packet)
        }
    };
    out.extend(packet);
    out
}

/// Where a packet goes on the wire: RFC 1112, 6.4, RFC 2464, 7; the host itself for unicast.
fn ethernet(dst: &IpAddr) -> [u8; 6] {
    match dst {
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let octets = ip.octets();
            [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]
        }
        _ => [2, 0x77, 0, 0, 0, 1],
    }
}

/// Addresses of all interfaces; routes and rules.
fn look(host: &Host) -> (Vec<String>, Vec<String>) {
    let commands =
        "ip -j -d addr; ip -j -d route show table all; ip -j -d -6 route show table all; ip -j rule; ip -j -6 rule";
    let out = host.net.command("sh").args(["-c", commands]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    // Nothing to show is an empty line, or nothing at all.
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut all = Vec::new();
    while let Some(Ok(Value::Array(list))) = values.next() {
        all.push(list);
    }
    assert_eq!(all.len(), 5, "ip(8) said: {text}");
    let mut addresses = Vec::new();
    for link in &all[0] {
        let name = link["ifname"].as_str().unwrap_or_default();
        for address in link["addr_info"].as_array().into_iter().flatten() {
            addresses.push(format!("{name} {}", object(address)));
        }
    }
    let mut routes: Vec<String> = all[1..3]
        .iter()
        .flatten()
        .map(|r| format!("route {}", object(r)))
        .collect();
    routes.extend(all[3..].iter().flatten().map(|r| format!("rule {}", object(r))));
    addresses.sort();
    routes.sort();
    (addresses, routes)
}

/// `key value` for every key. Seconds that run down are rounded up to hundreds.
fn object(value: &Value) -> String {
    let words = value.as_object().unwrap().iter().filter_map(|(key, value)| {
        // The kernel's own count of who refers to it.
        if key.is_empty() || key == "metric" && value == 1024 {
            return None;
        }
        let value = match value {
            Value::Number(n) if key.ends_with("_life_time") && n.as_u64() < Some(u64::from(u32::MAX)) => {
                Value::from(n.as_u64()?.div_ceil(100) * 100)
            }
            other => other.clone(),
        };
        Some(format!("{key} {}", value.to_string().trim_matches('"')))
    });
    words.collect::<Vec<_>>().join(" ")
}

//! What a run did, as lines that two runs can be compared by.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// What is compared, each on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    /// Every advert that is another one than the one before, each of priority 0, and who speaks at the end of the phase.
    Adverts,
    /// Gratuitous ARPs and unsolicited neighbour advertisements, each with their number.
    Told,
    /// Addresses of all interfaces.
    Addresses,
    /// Routes of all tables, and rules.
    Routes,
    /// Scripts of notifications: user, groups, arguments.
    Scripts,
    /// The same for checks, each once.
    Checks,
    /// Lines of FIFOs.
    Fifo,
    /// How the daemon ended.
    End,
}

impl Aspect {
    pub(crate) const ALL: [Aspect; 8] = [
        Aspect::Adverts,
        Aspect::Told,
        Aspect::Addresses,
        Aspect::Routes,
        Aspect::Scripts,
        Aspect::Checks,
        Aspect::Fifo,
        Aspect::End,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Aspect::Adverts => "adverts",
            Aspect::Told => "told",
            Aspect::Addresses => "addresses",
            Aspect::Routes => "routes",
            Aspect::Scripts => "scripts",
            Aspect::Checks => "checks",
            Aspect::Fifo => "fifo",
            Aspect::End => "end",
        }
    }

    /// What the order of the lines within a phase says.
    pub(crate) fn order(self) -> Order {
        match self {
            Aspect::Adverts => Order::Kept,
            Aspect::Fifo => Order::OfEach,
            _ => Order::None,
        }
    }
}

/// Of the lines of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It must be the same.
    Kept,
    /// That of each instance and each group must be the same.
    OfEach,
    /// It says nothing: scripts run side by side, the rest is sorted.
    None,
}

/// Between two things that happen to the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Phase {
    /// The step it begins with.
    pub(crate) after: String,
    pub(crate) lines: BTreeMap<Aspect, Vec<String>>,
}

impl Phase {
    pub(crate) fn add(&mut self, aspect: Aspect, lines: impl IntoIterator<Item = String>) {
        self.lines.entry(aspect).or_default().extend(lines);
    }

    pub(crate) fn of(&self, aspect: Aspect) -> &[String] {
        self.lines.get(&aspect).map_or(&[], Vec::as_slice)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) phases: Vec<Phase>,
}

impl Record {
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (number, phase) in self.phases.iter().enumerate() {
            let _ = writeln!(out, "== {number} {}", phase.after);
            for aspect in Aspect::ALL {
                for line in phase.of(aspect) {
                    let _ = writeln!(out, "{:10} {line}", aspect.name());
                }
            }
        }
        out
    }
}

/// A frame that counts.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    Advert(Advert),
    /// A gratuitous ARP or an unsolicited neighbour advertisement.
    Told(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Advert {
    /// Adverts of one router to one destination: what follows what is only told within a flow.
    flow: String,
    pub(crate) priority: u8,
    /// As the packet says.
    interval: Duration,
    text: String,
    read: Instant,
}

impl Frame {
    pub(crate) fn parse(frame: &[u8]) -> Option<Frame> {
        match frame.get(12..14)? {
            [0x08, 0x06] if frame.get(28..32)? == frame.get(38..42)? => {
                Some(Frame::Told(format!("{} {}", v4(&frame[28..32]), hex(frame))))
            }
            [0x08, 0x00] if *frame.get(23)? == 112 => {
                let mut same = frame.to_vec();
                // The identification is a counter, and the kernel's; the checksum follows it.
                for at in [18, 19, 24, 25] {
                    same[at] = 0;
                }
                let message = frame.get(14 + usize::from(frame[14] & 0xf) * 4..)?;
                advert(
                    &format!("{} > {}", v4(&frame[26..30]), v4(&frame[30..34])),
                    message,
                    &same,
                )
            }
            [0x86, 0xdd] if *frame.get(20)? == 112 => {
                let mut same = frame.to_vec();
                // Traffic class and flow label stay; the label is the kernel's choice.
                same[15] &= 0xf0;
                same[16..18].fill(0);
                advert(
                    &format!("{} > {}", v6(&frame[22..38]), v6(&frame[38..54])),
                    frame.get(54..)?,
                    &same,
                )
            }
            [0x86, 0xdd] if *frame.get(20)? == 58 && *frame.get(54)? == 136 => {
                let mut same = frame.to_vec();
                same[15] &= 0xf0;
                same[16..18].fill(0);
                Some(Frame::Told(format!("{} {}", v6(frame.get(62..78)?), hex(&same))))
            }
            _ => None,
        }
    }
}

fn advert(ends: &str, message: &[u8], same: &[u8]) -> Option<Frame> {
    let [first, vrid, priority, _, fourth, fifth] = *message.first_chunk()?;
    let interval = if first >> 4 == 2 {
        Duration::from_secs(fifth.into())
    } else {
        Duration::from_millis(10 * u64::from(u16::from_be_bytes([fourth & 0xf, fifth])))
    };
    Some(Frame::Advert(Advert {
        flow: format!("vrid {vrid} {ends}"),
        priority,
        interval,
        text: format!("vrid {vrid} {ends} priority {priority}: {}", hex(same)),
        read: Instant::now(),
    }))
}

fn v4(bytes: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(bytes).unwrap().into()
}

fn v6(bytes: &[u8]) -> std::net::Ipv6Addr {
    <[u8; 16]>::try_from(bytes).unwrap().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the flows of a host were when it was looked at last.
#[derive(Default)]
pub(crate) struct Flows(BTreeMap<String, Flow>);

struct Flow {
    last: Advert,
    speaks: bool,
}

/// Until when a flow speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// The end of a phase in which the other router spoke first at that time, if it spoke.
    Now(Option<Instant>),
    /// The daemon's end: then nobody speaks.
    Stopped,
}

impl Flows {
    /// Adverts of one phase as lines: what changed, and who speaks in the end.
    pub(crate) fn lines(&mut self, frames: &[Frame], until: Until) -> Vec<String> {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
        for frame in frames {
            let Frame::Advert(advert) = frame else { continue };
            let before = self.0.get(&advert.flow);
            if advert.priority == 0 || before.is_none_or(|f| !f.speaks || f.last.text != advert.text) {
                let list = lines.entry(advert.flow.clone()).or_default();
                list.push(advert.text.clone());
            }
            if let Until::Now(Some(peer)) = until
                && advert.read >= peer
            {
                *answers.entry(&advert.flow).or_default() += 1;
            }
            let flow = Flow {
                last: advert.clone(),
                speaks: advert.priority != 0,
            };
            self.0.insert(advert.flow.clone(), flow);
        }
        let Until::Now(_) = until else {
            return lines.into_values().flatten().collect();
        };
        for (name, flow) in self.0.iter_mut().filter(|(_, f)| f.speaks) {
            // Two adverts may be late, or between two looks.
            let longest = flow.last.interval * 2 + Duration::from_millis(300);
            flow.speaks = flow.last.read.elapsed() <= longest;
            let list = lines.entry(name.clone()).or_default();
            let priority = flow.last.priority;
            list.push(match (flow.speaks, answers.get(name.as_str())) {
                (true, _) => format!("{name} speaks with priority {priority}"),
                (false, None) => format!("{name} falls silent"),
                (false, Some(n)) => format!("{name} falls silent {n} adverts after the other router's first"),
            });
        }
        lines.into_values().flatten().collect()
    }
}

/// Announcements of one phase as lines.
pub(crate) fn told(frames: &[Frame]) -> Vec<String> {
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for frame in frames {
        if let Frame::Told(text) = frame {
            *told.entry(text).or_default() += 1;
        }
    }
    told.into_iter().map(|(text, n)| format!("{n} times {text}")).collect()
}

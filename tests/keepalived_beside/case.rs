//! A file of the corpus: a keepalived.conf, and in lines that begin with `#:` what happens to the host that runs it.
//!
//! ```text
//! #: about TEXT                what the file is for; the first line
//! #: owner                     wait until an advert was sent since the last thing that happened
//! #: adverts N                 wait for N adverts
//! #: wait SECONDS
//! #: flag NAME, #: no flag NAME
//!                              make or remove a file; `@DIR@/check NAME` succeeds while it is there
//! #: peer WORD=VALUE...        another router speaks: v, vrid, prio, vips; also auth, every, dst, ttl
//! #: peer silent               it does not any more
//! #: link down, #: link up     the carrier of eth0; with another interface's name before it, of that one. The kernel tells
//!                              of carriers once a second (net/core/link_watch.c): more than two must follow
//! #: ip ARGUMENTS              ip(8) on the host
//! #: process start|stop        a process whose name is @NAME@
//! #: before STEP               a step that is taken before the engine starts
//! #: reload NAME               side file NAME becomes keepalived.conf, then SIGHUP
//! #: fifo NAME                 the test reads @DIR@/NAME
//! #: file NAME [MODE]          a side file: the lines up to `#: end`
//! ```
//!
//! The second burst of announcements comes five seconds after a takeover, also after one that has ended meanwhile: what lasts that
//! long has `garp_master_delay 0`.
//!
//! `@DIR@` is the directory of the run. `@DIR@/say` writes down who calls it with what, `@DIR@/check` the same for checks.

use std::net::IpAddr;
use std::time::Duration;

/// Longer than the three adverts and the skew of any file here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(6);

/// What another router says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Peer {
    pub(crate) version: u8,
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) auth: Option<String>,
    pub(crate) every: Duration,
    /// Where it goes; the multicast group unless written.
    pub(crate) dst: Option<IpAddr>,
    pub(crate) ttl: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    On,
    Off,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Owner,
    Adverts(usize),
    Wait(Duration),
    Flag(String, Turn),
    Peer(Option<Peer>),
    Link(String, Turn),
    Ip(String),
    Process(Turn),
    Reload(String),
}

impl Step {
    /// Whether something happens to the host, so that what it does then is told apart from what it did before.
    pub(crate) fn happens(&self) -> bool {
        !matches!(self, Step::Owner | Step::Adverts(_) | Step::Wait(_))
    }
}

pub(crate) struct SideFile {
    pub(crate) name: String,
    pub(crate) mode: u32,
    pub(crate) text: String,
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) config: String,
    /// Steps with their own words.
    pub(crate) steps: Vec<(Step, String)>,
    /// Before the engine starts.
    pub(crate) before: Vec<Step>,
    pub(crate) files: Vec<SideFile>,
    pub(crate) fifos: Vec<String>,
}

impl Case {
    /// A mistake in the corpus is a mistake of the test: it panics and says where.
    pub(crate) fn parse(name: &str, text: &str) -> Case {
        let mut case = Case {
            name: name.to_owned(),
            about: String::new(),
            config: String::new(),
            steps: Vec::new(),
            before: Vec::new(),
            files: Vec::new(),
            fifos: Vec::new(),
        };
        let mut side: Option<SideFile> = None;
        for (number, line) in text.lines().enumerate() {
            let bad = |what: &str| -> ! { panic!("{name}, line {}: {what}: {line}", number + 1) };
            let Some(words) = line.strip_prefix("#:") else {
                let into = side.as_mut().map_or(&mut case.config, |s| &mut s.text);
                into.push_str(line);
                into.push('\n');
                continue;
            };
            let words = words.trim();
            let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
            match verb {
                "about" => rest.clone_into(&mut case.about),
                "fifo" => case.fifos.push(rest.to_owned()),
                "file" => {
                    let (name, mode) = rest.split_once(' ').unwrap_or((rest, "644"));
                    let mode = u32::from_str_radix(mode, 8).unwrap_or_else(|_| bad("mode"));
                    let (name, text) = (name.to_owned(), String::new());
                    side = Some(SideFile { name, mode, text });
                }
                "end" => case.files.push(side.take().unwrap_or_else(|| bad("no file is open"))),
                "before" => {
                    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                    let step = step(verb, rest).filter(Step::happens);
                    case.before.push(step.unwrap_or_else(|| bad("unknown step")));
                }
                _ => match step(verb, rest) {
                    Some(step) => case.steps.push((step, words.to_owned())),
                    None => bad("unknown step"),
                },
            }
        }
        assert!(!case.about.is_empty(), "{name} does not say what it is about");
        assert!(side.is_none(), "{name}: a side file without its end");
        case
    }
}

fn seconds(word: &str) -> Option<Duration> {
    word.parse().ok().map(Duration::from_secs_f64)
}

fn step(verb: &str, rest: &str) -> Option<Step> {
    let turn = |word: &str| match word {
        "up" | "start" => Some(Turn::On),
        "down" | "stop" => Some(Turn::Off),
        _ => None,
    };
    Some(match verb {
        "owner" => Step::Owner,
        "adverts" => Step::Adverts(rest.parse().ok()?),
        "wait" => Step::Wait(seconds(rest)?),
        "flag" => Step::Flag(rest.to_owned(), Turn::On),
        "no" => Step::Flag(rest.strip_prefix("flag ")?.to_owned(), Turn::Off),
        "ip" => Step::Ip(rest.to_owned()),
        "process" => Step::Process(turn(rest)?),
        "reload" => Step::Reload(rest.to_owned()),
        "link" => {
            let (interface, way) = rest.split_once(' ').unwrap_or(("eth0", rest));
            Step::Link(interface.to_owned(), turn(way)?)
        }
        "peer" if rest == "silent" => Step::Peer(None),
        "peer" => Step::Peer(Some(peer(rest)?)),
        _ => return None,
    })
}

fn peer(words: &str) -> Option<Peer> {
    let mut peer = Peer {
        version: 2,
        vrid: 51,
        priority: 100,
        vips: Vec::new(),
        auth: None,
        every: Duration::from_secs(1),
        dst: None,
        ttl: 255,
    };
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=')?;
        match key {
            "v" => peer.version = value.parse().ok()?,
            "vrid" => peer.vrid = value.parse().ok()?,
            "prio" => peer.priority = value.parse().ok()?,
            "vips" => peer.vips = value.split(',').map(str::parse).collect::<Result<_, _>>().ok()?,
            "auth" => peer.auth = Some(value.to_owned()),
            "every" => peer.every = seconds(value)?,
            "dst" => peer.dst = Some(value.parse().ok()?),
            "ttl" => peer.ttl = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(peer)
}

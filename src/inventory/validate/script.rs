//! `vrrp.scripts` and `vrrp.track_processes`: what decides the election.

use crate::inventory::context::{At, Context};
use crate::inventory::grammar::{COMMAND, PATH, PROCESS, UNIT, URL, USER_AND_GROUP, WORD};
use crate::inventory::model::{Script, ScriptKind, TrackProcess};
use crate::inventory::node::{Value, YamlNode};
use crate::inventory::source::Span;
use crate::inventory::table::Table;
use crate::inventory::timing::{COMMAND_DEFAULT_TIMEOUT, minimum_timeout};

/// Something with a name and a weight that instances track.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    pub(super) name: At<String>,
    /// Where the weight is written; the name when it is not.
    pub(super) weight_span: Span,
    pub(super) value: T,
}

/// Keys of every script; those of its kind follow.
const COMMON: &[&str] = &[
    "name",
    "kind",
    "interval",
    "timeout",
    "weight",
    "fall",
    "rise",
    "user",
    "init_fail",
];
const RESTART: &[&str] = &["unit", "binary"];
const HTTP: &[&str] = &["url", "try_timeout", "tries", "pause"];
const RUN: &[&str] = &["command"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Restart,
    Http,
    Command,
}

/// `vrrp.scripts`.
pub(super) fn scripts(vrrp: &Table<'_>) -> Vec<Tracked<Script>> {
    let Some(items) = vrrp.list("scripts") else {
        return Vec::new();
    };
    let found = items
        .value
        .iter()
        .filter_map(|node| script(vrrp.context, node))
        .collect();
    unique(vrrp.context, "scripts", found)
}

/// `vrrp.track_processes`.
pub(super) fn processes(vrrp: &Table<'_>) -> Vec<Tracked<TrackProcess>> {
    let Some(items) = vrrp.list("track_processes") else {
        return Vec::new();
    };
    let found = items
        .value
        .iter()
        .filter_map(|node| process(vrrp.context, node))
        .collect();
    unique(vrrp.context, "track processes", found)
}

fn unique<T>(context: &Context, what: &str, found: Vec<Tracked<T>>) -> Vec<Tracked<T>> {
    for (n, tracked) in found.iter().enumerate() {
        if found[..n]
            .iter()
            .any(|earlier| earlier.name.value == tracked.name.value)
        {
            context.error(
                tracked.name.span,
                format!("two {what} are called {}", tracked.name.value),
            );
        }
    }
    found
}

/// The words of `kind`.
const KINDS: [(&str, Kind); 3] = [
    ("restart", Kind::Restart),
    ("http", Kind::Http),
    ("command", Kind::Command),
];

fn kind_of(node: &YamlNode) -> Option<Kind> {
    match &node.value {
        Value::Map(entries) => entries.iter().find_map(|(key, value)| {
            let named = matches!(&key.value, Value::Scalar { text, .. } if text == "kind");
            named.then_some(value).and_then(|v| match &v.value {
                Value::Scalar { text, .. } => KINDS.iter().find(|(word, _)| word == text).map(|(_, kind)| *kind),
                _ => None,
            })
        }),
        _ => None,
    }
}

/// `timeout`, in seconds: long enough for what the script does; where it is not written, it is computed.
fn timeout_of(context: &Context, kind: &ScriptKind, written: Option<At<i64>>, interval: f64) -> u32 {
    let least = minimum_timeout(kind);
    match written {
        Some(written) if written.value < i64::from(least) => {
            let message = format!(
                "timeout {} is too short for this script: it may take {least} seconds",
                written.value
            );
            let hint = match kind {
                ScriptKind::Http {
                    try_timeout,
                    tries,
                    pause,
                    ..
                } => format!(
                    "{tries} tries of {try_timeout} s with {pause} s between, and 1 s of margin; left out, timeout is computed"
                ),
                ScriptKind::Restart { .. } | ScriptKind::Command { .. } => {
                    "it waits for nginx to start; left out, timeout is computed".to_owned()
                }
            };
            context.error_hint(written.span, message, hint);
            least
        }
        Some(written) => u32::try_from(written.value).unwrap_or(u32::MAX),
        None => match kind {
            // Nothing is known of it; keepalived's own default is the interval.
            ScriptKind::Command { .. } => whole_seconds(interval).max(COMMAND_DEFAULT_TIMEOUT),
            ScriptKind::Restart { .. } | ScriptKind::Http { .. } => least,
        },
    }
}

fn script(context: &Context, node: &YamlNode) -> Option<Tracked<Script>> {
    // The kind first: it says which keys there are.
    let kind = kind_of(node);
    let (what, own) = match kind {
        Some(Kind::Restart) => ("a restart script", RESTART.to_vec()),
        Some(Kind::Http) => ("an http script", HTTP.to_vec()),
        Some(Kind::Command) => ("a command script", RUN.to_vec()),
        None => ("a script", [RESTART, HTTP, RUN].concat()),
    };
    let keys = [COMMON, &own].concat();
    let table = Table::new(context, node, what, &keys)?;
    table.need("name", "a name of your own, as in name: chk_nginx");
    table.need("kind", "restart, http or command");
    let name = table.word("name", &WORD);
    table.choice("kind", &KINDS);
    let interval = table.real("interval", 0.001..=86_400.0).map_or(1.0, |i| i.value);
    let timeout = table.integer("timeout", 1..=86_400);
    let weight = table.integer("weight", -253..=253);
    let count = |key: &'static str| {
        table
            .integer(key, 1..=1000)
            .and_then(|n| u32::try_from(n.value).ok())
            .unwrap_or(1)
    };
    let (fall, rise) = (count("fall"), count("rise"));
    let user = table.word("user", &USER_AND_GROUP);
    let init_fail = table.flag("init_fail").is_some_and(|f| f.value);
    // A script that is wrong is still one that instances may name; what stands in for it here goes nowhere, because
    // the problem has been noted.
    let kind = match kind {
        Some(Kind::Restart) => restart(&table),
        Some(Kind::Http) => Some(http(&table)),
        Some(Kind::Command) => command(&table),
        None => None,
    }
    .unwrap_or(ScriptKind::Command { command: String::new() });
    if let (ScriptKind::Restart { .. }, Some(user)) = (&kind, &user)
        && user.value.split(' ').next() != Some("root")
    {
        context.error_hint(
            user.span,
            "a restart script must run as root",
            "it starts nginx: leave user out",
        );
    }
    let timeout = timeout_of(context, &kind, timeout, interval);
    let weight_span = weight.as_ref().map(|w| w.span);
    let name = name?;
    let value = Script {
        name: name.value.clone(),
        kind,
        interval,
        timeout,
        weight: weight.and_then(|w| i16::try_from(w.value).ok()).unwrap_or(0),
        fall,
        rise,
        user: user.map(|u| u.value),
        init_fail,
    };
    Some(Tracked {
        weight_span: weight_span.unwrap_or(name.span),
        name,
        value,
    })
}

/// Rounded up; the range of `interval` keeps it small.
fn whole_seconds(seconds: f64) -> u32 {
    let rounded = seconds.ceil().clamp(0.0, 86_400.0);
    // In range by the clamp above.
    rounded as u32
}

fn restart(table: &Table<'_>) -> Option<ScriptKind> {
    let unit = table.word("unit", &UNIT);
    let binary = table.word("binary", &PATH);
    if let (Some(_), Some(binary)) = (&unit, &binary) {
        let hint = "unit when nginx is a package, binary when it was built from source";
        table
            .context
            .error_hint(binary.span, "unit and binary exclude each other", hint);
        return None;
    }
    let unit = match (unit, &binary) {
        (None, None) => Some("nginx.service".to_owned()),
        (unit, _) => unit.map(|u| u.value),
    };
    Some(ScriptKind::Restart {
        unit,
        binary: binary.map(|b| b.value),
    })
}

/// The seed's two tries of three seconds, three seconds apart, unless written.
fn http(table: &Table<'_>) -> ScriptKind {
    let number = |key: &'static str, low: i64, high: i64, default: u32| {
        table
            .integer(key, low..=high)
            .and_then(|n| u32::try_from(n.value).ok())
            .unwrap_or(default)
    };
    ScriptKind::Http {
        url: table.word("url", &URL).map(|u| u.value),
        try_timeout: number("try_timeout", 1, 300, 3),
        tries: number("tries", 1, 100, 2),
        pause: number("pause", 0, 300, 3),
    }
}

fn command(table: &Table<'_>) -> Option<ScriptKind> {
    table.need("command", "what to run on the host, as in command: killall -0 nginx")?;
    let command = table.word("command", &COMMAND)?;
    let program = command.value.split(' ').next().unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    if file.to_ascii_lowercase().contains("nginx") {
        table.context.error_hint(
            command.span,
            format!("the file name of a check script must not contain nginx: {file}"),
            "pgrep nginx and killall nginx would find the script itself, so nginx would never count as down: rename the file",
        );
        return None;
    }
    Some(ScriptKind::Command { command: command.value })
}

fn process(context: &Context, node: &YamlNode) -> Option<Tracked<TrackProcess>> {
    let table = Table::new(
        context,
        node,
        "a track process",
        &["name", "process", "weight", "delay"],
    )?;
    table.need("name", "a name of your own, as in name: nginx_up");
    table.need("process", "the process name as in /proc/PID/comm, as in process: nginx");
    let name = table.word("name", &WORD);
    let process = table.word("process", &PROCESS);
    let weight = table.integer("weight", -253..=253);
    let delay = table.real("delay", 0.0..=3600.0).map(|d| d.value);
    let weight_span = weight.as_ref().map(|w| w.span);
    let name = name?;
    let value = TrackProcess {
        name: name.value.clone(),
        process: process.map(|p| p.value).unwrap_or_default(),
        weight: weight.and_then(|w| i16::try_from(w.value).ok()).unwrap_or(0),
        delay,
    };
    Some(Tracked {
        weight_span: weight_span.unwrap_or(name.span),
        name,
        value,
    })
}

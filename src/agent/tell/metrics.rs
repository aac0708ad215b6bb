//! Prometheus' text form of the status (exposition format 0.0.4). Names stay; new ones may come.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP hapair_{name} {help}\n# TYPE hapair_{name} {}",
            kind.name()
        );
    }

    /// A metric of the whole daemon.
    fn one(&mut self, name: &str, kind: Kind, help: &str, value: &Value) {
        self.head(name, kind, help);
        let _ = writeln!(self.0, "hapair_{name} {}", number(value));
    }

    /// A metric of each thing of a list, labelled by its name.
    fn each(
        &mut self,
        (name, kind, help): (&str, Kind, &str),
        label: &str,
        list: &Value,
        value: impl Fn(&Value) -> f64,
    ) {
        self.head(name, kind, help);
        for item in list.as_array().into_iter().flatten() {
            let of = escaped(item["name"].as_str().unwrap_or_default());
            let _ = writeln!(self.0, "hapair_{name}{{{label}=\"{of}\"}} {}", value(item));
        }
    }

    /// `auth_hmac`: how far the clocks of the others are from ours, and how far they may be.
    fn clocks(&mut self, instances: &Value) {
        let signed = || {
            let all = instances.as_array().into_iter().flatten();
            all.filter(|i| i["auth_hmac"].is_object())
                .map(|i| (escaped(i["name"].as_str().unwrap_or_default()), &i["auth_hmac"]))
        };
        self.head(
            "hmac_clock_ahead_seconds",
            Kind::Gauge,
            "seconds that the clock of a peer was ahead of ours when it was heard last",
        );
        for (of, auth) in signed() {
            for clock in auth["clocks"].as_array().into_iter().flatten() {
                let peer = escaped(clock["address"].as_str().unwrap_or_default());
                let ahead = number(&clock["ahead_seconds"]);
                let _ = writeln!(
                    self.0,
                    "hapair_hmac_clock_ahead_seconds{{instance=\"{of}\",peer=\"{peer}\"}} {ahead}"
                );
            }
        }
        self.head(
            "hmac_time_window_seconds",
            Kind::Gauge,
            "seconds the clocks may differ before adverts are refused",
        );
        for (of, auth) in signed().filter(|(_, auth)| auth["time_window"].is_number()) {
            let window = number(&auth["time_window"]);
            let _ = writeln!(self.0, "hapair_hmac_time_window_seconds{{instance=\"{of}\"}} {window}");
        }
    }
}

/// Of a neighbour: name, help, key of the status.
const OF_NEIGHBOURS: [(&str, &str, &str); 3] = [
    (
        "neighbour_priority",
        "priority that a neighbour announced last, 0 to 255",
        "priority",
    ),
    (
        "neighbour_packets",
        "packets of a neighbour since it was heard first, at most five minutes apart",
        "packets",
    ),
    (
        "neighbour_last_heard_seconds",
        "seconds since a neighbour was heard",
        "seconds_since_last",
    ),
];

impl Text {
    /// At most 32 of each instance: who was heard in the last five minutes, and what was thought of it.
    fn neighbours(&mut self, instances: &Value) {
        for (name, help, key) in OF_NEIGHBOURS {
            self.head(name, Kind::Gauge, help);
            for instance in instances.as_array().into_iter().flatten() {
                let of = escaped(instance["name"].as_str().unwrap_or_default());
                for n in instance["neighbours"].as_array().into_iter().flatten() {
                    if n[key].is_null() {
                        continue;
                    }
                    let _ = writeln!(
                        self.0,
                        "hapair_{name}{{instance=\"{of}\",address=\"{}\",version=\"{}\",verdict=\"{}\"}} {}",
                        escaped(n["address"].as_str().unwrap_or_default()),
                        n["version"].as_u64().unwrap_or_default(),
                        n["verdict"].as_str().unwrap_or_default(),
                        number(&n[key]),
                    );
                }
            }
        }
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn is(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn length(list: &Value) -> Value {
    list.as_array().map_or(0, Vec::len).into()
}

/// What becomes of a neighbour's adverts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Adverts {
    Accepted,
    Refused,
}

/// Hosts that were heard for an instance.
fn neighbours(instance: &Value, adverts: Adverts) -> f64 {
    let all = instance["neighbours"].as_array().into_iter().flatten();
    let hosts: BTreeSet<&str> = all
        .filter(|n| n["accepted"] == (adverts == Adverts::Accepted))
        .filter_map(|n| n["address"].as_str())
        .collect();
    hosts.len() as f64
}

/// Counters of an instance: name in the status, help.
const COUNTERS: [(&str, &str); 16] = [
    ("received", "adverts that counted"),
    ("sent", "adverts sent"),
    ("ignored", "packets that did not count"),
    ("foreign", "packets ignored because they announce none of our VIPs"),
    ("auth_failures", "packets ignored for their authentication"),
    (
        "hmac_missing",
        "packets ignored because they are not signed (auth_hmac)",
    ),
    (
        "hmac_malformed",
        "packets ignored because their signature is malformed or not expected",
    ),
    (
        "hmac_unknown_key",
        "packets ignored because their key is not configured",
    ),
    ("hmac_wrong_key", "packets ignored because their HMAC is wrong"),
    (
        "hmac_stale",
        "packets ignored because the sender's clock and ours differ by more than time_window",
    ),
    (
        "hmac_replayed",
        "packets ignored because they are replays of older ones",
    ),
    ("checksum_errors", "packets ignored for their checksum"),
    ("zero_received", "adverts of priority 0 heard"),
    ("zero_sent", "adverts of priority 0 sent"),
    ("became_master", "times it became owner of the VIPs"),
    ("left_master", "times it ceased to be owner of the VIPs"),
];

/// Metrics from what `status` says.
pub(crate) fn render(status: &Value) -> String {
    let mut text = Text::default();
    text.head("build_info", Kind::Gauge, "1, labelled with the version of the agent");
    let version = escaped(status["version"].as_str().unwrap_or_default());
    let _ = writeln!(text.0, "hapair_build_info{{version=\"{version}\"}} 1");
    text.instances(&status["instances"]);
    text.tracked(status);
    text.host(status);
    text.0
}

impl Text {
    fn instances(&mut self, instances: &Value) {
        use Kind::{Counter, Gauge};
        let each = [
            (
                ("master", Gauge, "1 while this host owns the VIPs"),
                (|i| is(i["state"] == "MASTER")) as fn(&Value) -> f64,
            ),
            (
                ("fault", Gauge, "1 while the instance is kept out of the election"),
                |i| is(i["state"] == "FAULT"),
            ),
            (("priority", Gauge, "effective priority, 1 to 255"), |i| {
                number(&i["priority"])
            }),
            (("base_priority", Gauge, "configured priority, 1 to 255"), |i| {
                number(&i["base_priority"])
            }),
            (
                ("held", Gauge, "1 while it does not take over from a living owner"),
                |i| is(i["held"] == true),
            ),
            (
                (
                    "waits_for_checks",
                    Gauge,
                    "1 until every check has answered once: until then it does not become owner",
                ),
                |i| is(i["waits_for_checks"] == true),
            ),
            (
                (
                    "neighbours",
                    Gauge,
                    "hosts whose adverts were accepted in the last five minutes",
                ),
                |i| neighbours(i, Adverts::Accepted),
            ),
            (
                (
                    "neighbours_refused",
                    Gauge,
                    "hosts whose adverts were refused in the last five minutes",
                ),
                |i| neighbours(i, Adverts::Refused),
            ),
            (
                (
                    "two_owners_suspected",
                    Gauge,
                    "1 while the owner refuses adverts of another host that announces its VIPs",
                ),
                |i| is(!i["second_owner"].is_null()),
            ),
            (("state_seconds", Gauge, "seconds since the state was entered"), |i| {
                number(&i["seconds_in_state"])
            }),
        ];
        for (what, value) in each {
            self.each(what, "instance", instances, value);
        }
        for (name, help) in COUNTERS {
            self.each((&format!("{name}_total"), Counter, help), "instance", instances, |i| {
                number(&i["statistics"][name])
            });
        }
        self.clocks(instances);
        self.neighbours(instances);
    }

    /// Scripts and processes.
    fn tracked(&mut self, status: &Value) {
        use Kind::Gauge;
        let good = |i: &Value| is(i["good"] == true);
        self.each(
            ("script_good", Gauge, "1 while the tracked script counts as good"),
            "script",
            &status["scripts"],
            good,
        );
        self.each(
            (
                "script_disabled",
                Gauge,
                "1 while the tracked script is not run and counts for nothing",
            ),
            "script",
            &status["scripts"],
            |s| is(!s["disabled"].is_null()),
        );
        let rules = &status["processes"]["rules"];
        self.each(
            ("process_good", Gauge, "1 while the tracked process counts as running"),
            "process",
            rules,
            good,
        );
        self.each(
            ("process_running", Gauge, "processes that match the rule"),
            "process",
            rules,
            |p| number(&p["running"]),
        );
        self.each(
            (
                "process_by_name",
                Gauge,
                "1 while only the name identifies the processes: those of any user count",
            ),
            "process",
            rules,
            |p| is(p["known_by"] == "name"),
        );
        self.each(
            (
                "process_not_counted",
                Gauge,
                "processes of the rule's name that are not the ones meant, when they were looked for last",
            ),
            "process",
            rules,
            |p| number(&p["not_counted"]),
        );
    }

    /// What concerns the host as a whole.
    fn host(&mut self, status: &Value) {
        use Kind::{Counter, Gauge};
        self.one(
            "other_routers",
            Gauge,
            "hosts that announced a VIP of ours under another virtual_router_id in the last five minutes",
            &length(&status["other_routers"]),
        );
        self.one(
            "duplicate_addresses",
            Gauge,
            "hosts that used an address that our adverts come from in the last five minutes",
            &length(&status["duplicate_addresses"]),
        );
        self.one(
            "uninvited_vips",
            Gauge,
            "VIPs on interfaces of this host that it does not own and did not put there",
            &length(&status["uninvited_vips"]),
        );
        self.one(
            "worst_timer_lag_seconds",
            Gauge,
            "seconds that the latest timer since start was late",
            &status["worst_timer_lag_seconds"],
        );
        self.one(
            "netlink_overruns_total",
            Counter,
            "times the kernel dropped netlink messages and everything was read again",
            &status["netlink_overruns"],
        );
        self.one(
            "dropped_log_lines_total",
            Counter,
            "log lines dropped because nobody read them",
            &status["dropped_log_lines"],
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_metric_has_help_type_and_values() {
        let status = json!({
            "version": "1.2", "worst_timer_lag_seconds": 0.25, "netlink_overruns": 3, "dropped_log_lines": 0,
            "instances": [
                {"name": "a\"\\", "state": "MASTER", "priority": 200, "statistics": {"sent": 7, "hmac_stale": 4}, "auth_hmac": {
                    "time_window": 5, "clocks": [{"address": "fe80::1", "ahead_seconds": -2.75}],
                }},
                {"name": "b", "auth_hmac": null},
            ],
            "scripts": [{"name": "chk", "good": true}, {"name": "gone", "good": false, "disabled": "it is not there"}],
            "processes": {"rules": [{"name": "p", "good": false, "running": 2, "known_by": "name", "not_counted": 3}]},
        });
        let text = render(&status);
        for line in [
            "hapair_build_info{version=\"1.2\"} 1",
            "hapair_master{instance=\"a\\\"\\\\\"} 1",
            "hapair_priority{instance=\"a\\\"\\\\\"} 200",
            "hapair_sent_total{instance=\"a\\\"\\\\\"} 7",
            "hapair_hmac_stale_total{instance=\"a\\\"\\\\\"} 4",
            "hapair_hmac_clock_ahead_seconds{instance=\"a\\\"\\\\\",peer=\"fe80::1\"} -2.75",
            "hapair_hmac_time_window_seconds{instance=\"a\\\"\\\\\"} 5",
            "hapair_script_good{script=\"chk\"} 1",
            "hapair_script_disabled{script=\"chk\"} 0",
            "hapair_script_disabled{script=\"gone\"} 1",
            "hapair_process_good{process=\"p\"} 0",
            "hapair_process_running{process=\"p\"} 2",
            "hapair_process_by_name{process=\"p\"} 1",
            "hapair_process_not_counted{process=\"p\"} 3",
            "hapair_worst_timer_lag_seconds 0.25",
            "hapair_netlink_overruns_total 3",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in:\n{text}");
        }
        let mut described = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(
                    described.insert(rest.split(' ').next().unwrap().to_owned()),
                    "twice: {line}"
                );
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert!(described.contains(name), "no type before: {line}");
            }
        }
    }
}

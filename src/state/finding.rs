//! Findings: what preflight sees on a host, in the pair or on the segment.

use serde::{Deserialize, Serialize};

/// One thing that preflight saw. In JSON its `"type"` is `finding`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where it was seen; `None`: in the pair or on the segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What kind of thing was seen; `--accept` names it.
    pub id: FindingId,
    /// What follows from it.
    pub severity: Severity,
    /// What was seen. Lower case, no final period.
    pub cause: String,
    /// What to do about it. Lower case, no final period.
    pub remedy: String,
}

/// What follows from a finding, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is changed unless the operator accepts it by its id.
    Blocks,
    /// It may end badly.
    Warns,
    /// Good to know.
    Notes,
}

impl Severity {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Blocks => "blocks",
            Severity::Warns => "warns",
            Severity::Notes => "notes",
        }
    }
}

/// Names of findings, for operators and scripts: they stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingId {
    /// A stranger answers ARP for a VIP, or announces it.
    VipInUse,
    /// A VIP is in the host's network configuration, so that the host has it whoever owns it.
    VipStatic,
    /// A VIP is on an interface of the host where no engine of hapair's puts it.
    VipElsewhere,
    /// A VIP is on its interface, but no engine runs that could have put it there.
    VipLeft,
    /// A stranger uses the `virtual_router_id` of an instance.
    VridInUse,
    /// The host could not ask or listen on the segment of an instance.
    SegmentUnseen,
    /// Another program speaks VRRP on the host.
    VrrpSpeaker,
    /// The packet filter drops the peer's adverts.
    VrrpFiltered,
    /// Another program listens on a port of the load balancer.
    PortTaken,
    /// The interface is a port of a bridge or bond, which is where addresses belong.
    InterfaceIsPort,
    /// The host has no such interface.
    InterfaceMissing,
    /// A certificate or key that the inventory names is not on the host.
    TlsFileMissing,
    /// A file system has no room for what is to be written.
    DiskFull,
    /// A file system has little room left.
    DiskLow,
    /// The clocks of the two hosts differ.
    ClocksDiffer,
    /// cloud-init would write the network configuration anew at the next boot.
    CloudInit,
}

impl FindingId {
    /// All names.
    pub const ALL: [FindingId; 16] = [
        FindingId::VipInUse,
        FindingId::VipStatic,
        FindingId::VipElsewhere,
        FindingId::VipLeft,
        FindingId::VridInUse,
        FindingId::SegmentUnseen,
        FindingId::VrrpSpeaker,
        FindingId::VrrpFiltered,
        FindingId::PortTaken,
        FindingId::InterfaceIsPort,
        FindingId::InterfaceMissing,
        FindingId::TlsFileMissing,
        FindingId::DiskFull,
        FindingId::DiskLow,
        FindingId::ClocksDiffer,
        FindingId::CloudInit,
    ];

    /// As in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FindingId::VipInUse => "vip-in-use",
            FindingId::VipStatic => "vip-static",
            FindingId::VipElsewhere => "vip-elsewhere",
            FindingId::VipLeft => "vip-left",
            FindingId::VridInUse => "vrid-in-use",
            FindingId::SegmentUnseen => "segment-unseen",
            FindingId::VrrpSpeaker => "vrrp-speaker",
            FindingId::VrrpFiltered => "vrrp-filtered",
            FindingId::PortTaken => "port-taken",
            FindingId::InterfaceIsPort => "interface-is-port",
            FindingId::InterfaceMissing => "interface-missing",
            FindingId::TlsFileMissing => "tls-file-missing",
            FindingId::DiskFull => "disk-full",
            FindingId::DiskLow => "disk-low",
            FindingId::ClocksDiffer => "clocks-differ",
            FindingId::CloudInit => "cloud-init",
        }
    }
}

impl std::fmt::Display for FindingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for FindingId {
    type Err = String;

    fn from_str(name: &str) -> Result<FindingId, String> {
        let found = FindingId::ALL.into_iter().find(|id| id.name() == name);
        found.ok_or_else(|| format!("there is no finding `{name}`"))
    }
}

impl Finding {
    /// A finding of the pair or the segment.
    pub fn new(id: FindingId, severity: Severity, cause: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            host: None,
            id,
            severity,
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }

    /// The same, seen on this host.
    #[must_use]
    pub fn on(self, host: &str) -> Finding {
        Finding {
            host: Some(host.to_owned()),
            ..self
        }
    }

    /// Whether it stops an apply that accepts these ids.
    pub fn blocks(&self, accepted: &[FindingId]) -> bool {
        self.severity == Severity::Blocks && !accepted.contains(&self.id)
    }
}

/// Sorts by severity, then by name and host, and drops what was said twice.
pub fn sort(findings: &mut Vec<Finding>) {
    findings.sort_by(|a, b| (a.severity, a.id, &a.host, &a.cause).cmp(&(b.severity, b.id, &b.host, &b.cause)));
    findings.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_each_is_read_back() {
        for id in FindingId::ALL {
            assert_eq!(serde_json::to_value(id).unwrap(), id.name());
            assert_eq!(id.name().parse(), Ok(id));
        }
        assert!("vip".parse::<FindingId>().is_err());
        for severity in [Severity::Blocks, Severity::Warns, Severity::Notes] {
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.name());
        }
    }

    #[test]
    fn only_what_blocks_and_is_not_accepted_stands_in_the_way() {
        let finding = |severity| Finding::new(FindingId::PortTaken, severity, "cause", "remedy");
        assert!(finding(Severity::Blocks).blocks(&[]));
        assert!(finding(Severity::Blocks).blocks(&[FindingId::VipInUse]));
        assert!(!finding(Severity::Blocks).blocks(&[FindingId::VipInUse, FindingId::PortTaken]));
        assert!(!finding(Severity::Warns).blocks(&[]));
    }

    #[test]
    fn the_worst_comes_first_and_nothing_twice() {
        let finding = |id, severity| Finding::new(id, severity, "cause", "remedy");
        let mut all = vec![
            finding(FindingId::CloudInit, Severity::Notes),
            finding(FindingId::PortTaken, Severity::Blocks).on("web2"),
            finding(FindingId::VipInUse, Severity::Blocks),
            finding(FindingId::DiskLow, Severity::Warns).on("web1"),
            finding(FindingId::PortTaken, Severity::Blocks).on("web1"),
            finding(FindingId::VipInUse, Severity::Blocks),
        ];
        sort(&mut all);
        let seen: Vec<(FindingId, Option<&str>)> = all.iter().map(|f| (f.id, f.host.as_deref())).collect();
        assert_eq!(
            seen,
            [
                (FindingId::VipInUse, None),
                (FindingId::PortTaken, Some("web1")),
                (FindingId::PortTaken, Some("web2")),
                (FindingId::DiskLow, Some("web1")),
                (FindingId::CloudInit, None),
            ]
        );
    }
}

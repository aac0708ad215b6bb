//! What is broken on purpose.

/// What is broken on purpose, always on the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scenario {
    /// nginx is stopped and kept stopped; the check script has to notice.
    NginxStop,
    /// The VRRP engine's service is stopped in good order: priority 0 hands the VIP over.
    VrrpStop,
}

impl Scenario {
    /// All of them, in the order they are run.
    pub const ALL: [Scenario; 2] = [Scenario::NginxStop, Scenario::VrrpStop];

    /// As on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::NginxStop => "nginx-stop",
            Scenario::VrrpStop => "vrrp-stop",
        }
    }

    /// One sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Scenario::NginxStop => "stop nginx on the owner and keep it down",
            Scenario::VrrpStop => "stop the VRRP engine on the owner",
        }
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scenario `{0}`, known are: nginx-stop, vrrp-stop")]
pub struct UnknownScenario(pub String);

impl std::str::FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Scenario, UnknownScenario> {
        Scenario::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| UnknownScenario(text.to_owned()))
    }
}

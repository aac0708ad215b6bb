//! Identifiers of transactions.

use serde::{Deserialize, Serialize};

/// Identifier of one transaction: `20261122T164512Z-3f9a`, chosen by the controller, sortable by time.
///
/// Only ASCII letters, digits and `-` may occur in it: it becomes part of paths and unit names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TxnId(String);

impl TxnId {
    /// Accepts 1 to 40 characters of `[0-9A-Za-z-]`; anything else is `None`.
    pub fn new(text: &str) -> Option<TxnId> {
        let ok = (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        ok.then(|| TxnId(text.to_owned()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the transactions of one run share: `20261122T164512Z-3f9a` of `20261122T164512Z-3f9a-2`. An identifier
    /// without a number at its end is a run of its own.
    pub fn stamp(&self) -> &str {
        self.parts().0
    }

    /// Stamp and number: sorts the transactions of a host by time.
    pub fn parts(&self) -> (&str, u32) {
        let cut = self.0.rsplit_once('-').filter(|(stamp, _)| stamp.contains('-'));
        let numbered = cut.and_then(|(stamp, number)| Some((stamp, number.parse().ok()?)));
        numbered.unwrap_or((&self.0, 0))
    }
}

impl std::fmt::Display for TxnId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_of_one_run_share_a_stamp() {
        let id = |text: &str| TxnId::new(text).expect("valid");
        assert_eq!(id("20261122T164512Z-3f9a-12").parts(), ("20261122T164512Z-3f9a", 12));
        // The random part may be all digits.
        assert_eq!(id("20261122T164512Z-1234").parts(), ("20261122T164512Z-1234", 0));
        assert_eq!(id("one").stamp(), "one");
        assert!(id("20261122T164512Z-3f9a-2").parts() < id("20261122T164512Z-3f9a-10").parts());
    }
}

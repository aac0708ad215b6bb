//! Calendar time, UTC, to the second: enough for messages, identifiers and log lines.

use std::time::{Duration, SystemTime};

/// A moment as year, month, day, hour, minute, second, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// 1970 and later.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59; leap seconds do not exist here, as in POSIX time.
    pub second: u64,
}

impl Utc {
    /// The moment that lies this long after 1970-01-01.
    pub fn since_epoch(since: Duration) -> Utc {
        let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Years are counted from 1 March, so that the leap day comes last; 719468 days lie between 0000-03-01 and
        // 1970-01-01, and 146097 in 400 years.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Utc {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * shifted_month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// A moment of the system's clock; times before 1970 count as 1970.
    pub fn of(time: SystemTime) -> Utc {
        Utc::since_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    /// `2026-11-22T16:45:12Z` (RFC 3339).
    pub fn rfc3339(self) -> String {
        let Utc {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// `20261122T164512Z`, sortable and without characters that mean something in a path or a unit name.
    pub fn compact(self) -> String {
        self.rfc3339().replace(['-', ':'], "")
    }
}

/// `2026-11-22 16:45:12 UTC`, for people.
impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.rfc3339();
        write!(f, "{} {} UTC", &text[..10], &text[11..19])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_795_365_935, "2026-11-22T16:45:35Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Utc::since_epoch(Duration::from_secs(seconds)).rfc3339(), text);
        }
    }

    #[test]
    fn other_forms() {
        let moment = Utc::since_epoch(Duration::from_secs(1_795_365_935));
        assert_eq!(moment.to_string(), "2026-11-22 16:45:35 UTC");
        assert_eq!(moment.compact(), "20261122T164535Z");
    }
}

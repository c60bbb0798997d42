//! [`Retention`]: how long an object is kept, and from whom.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who can shorten a retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionMode {
    /// Whoever has a special right to.
    Governance,
    /// Nobody, the owner of the account included.
    Compliance,
}

/// How long an object is kept, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// When it may be deleted again. Services know whole seconds: part of one counts as a whole one.
    pub until: SystemTime,
    /// Who can shorten that.
    pub mode: RetentionMode,
}

/// Seconds since 1970, rounded up.
fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

impl Retention {
    /// `until` in whole seconds.
    pub fn whole_seconds(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds(self.until))
    }
}

/// A time as people and services write it, in whole seconds: `2027-01-31T18:00:00Z`.
pub(crate) fn date(time: SystemTime) -> String {
    let seconds = i64::try_from(seconds(time)).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // No clock goes beyond the year 9999.
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_whole_seconds_not_before_the_time() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(date(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(date(at(1_790_000_000)), "2026-09-21T14:13:20Z");
        assert_eq!(date(at(10) + Duration::from_nanos(1)), "1970-01-01T00:00:11Z");
    }
}

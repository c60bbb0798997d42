//! A backup as programs and people are told of it.

use cinderblock_store::{Chunking, Mark, Record, Timestamp};
use serde::Serialize;

/// The JSON object of a backup.
#[derive(Debug, Serialize)]
pub struct BackupFacts {
    backup_id: String,
    volume_id: String,
    created_at: String,
    name: Option<String>,
    description: Option<String>,
    parent_id: Option<String>,
    volume_bytes: u64,
    read_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    chunks: u64,
    new_chunks: u64,
    zero_chunks: u64,
    seconds: f64,
    chunker: &'static str,
    compression: String,
    protected: bool,
    protected_until: Option<String>,
    /// Bytes of the volume that the last repair found to be lost.
    damaged_bytes: Option<u64>,
}

/// Whether a backup is protected from being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    None,
    /// Until that time, or until it is lifted.
    Until(Option<Timestamp>),
    /// What says so cannot be read, so that it counts as protected.
    Unknown,
}

impl Protection {
    pub fn of(mark: Option<&Mark>) -> Self {
        match mark {
            Some(mark) if mark.is_protected(Timestamp::now()) => Protection::Until(mark.protected_until),
            _ => Protection::None,
        }
    }

    pub fn is_none(self) -> bool {
        self == Protection::None
    }

    /// When it ends by itself, for programs.
    pub fn until(self) -> Option<String> {
        match self {
            Protection::Until(until) => until.map(microseconds),
            _ => None,
        }
    }

    /// For people.
    pub fn words(self) -> String {
        match self {
            Protection::None => "no".to_owned(),
            Protection::Until(None) => "yes".to_owned(),
            Protection::Until(Some(until)) => format!("until {}", time(until)),
            Protection::Unknown => "unknown".to_owned(),
        }
    }
}

impl BackupFacts {
    /// The same with what its mark says to be lost.
    pub fn with_damage(self, mark: Option<&Mark>) -> Self {
        Self { damaged_bytes: mark.and_then(|mark| mark.damaged).map(|damage| damage.bytes), ..self }
    }

    /// The facts of a backup that may be protected.
    pub fn new(record: &Record, protection: Protection) -> Self {
        Self { protected: !protection.is_none(), protected_until: protection.until(), ..Self::from(record) }
    }
}

/// Of a new backup, which nobody has protected yet.
impl From<&Record> for BackupFacts {
    fn from(record: &Record) -> Self {
        let statistics = record.statistics;
        Self {
            backup_id: record.id.to_string(),
            volume_id: record.volume.to_string(),
            created_at: microseconds(record.created_at),
            name: record.name.clone(),
            description: record.description.clone(),
            parent_id: record.parent.map(|id| id.to_string()),
            volume_bytes: record.volume_bytes,
            read_bytes: statistics.read_bytes,
            new_bytes: statistics.new_bytes,
            stored_bytes: statistics.stored_bytes,
            chunks: statistics.chunks,
            new_chunks: statistics.new_chunks,
            zero_chunks: statistics.zero_chunks,
            seconds: statistics.milliseconds as f64 / 1000.0,
            chunker: match record.chunking {
                Chunking::Fixed => "fixed",
                Chunking::Content { .. } => "fastcdc",
            },
            compression: record.compression.clone(),
            protected: false,
            protected_until: None,
            damaged_bytes: None,
        }
    }
}

/// `2026-11-23T05:08:59.250000Z`: always six digits, which every parser of such times takes.
pub fn microseconds(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.microseconds()) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
        Err(_) => time.to_string(),
    }
}

/// `2026-11-23 05:08:59 UTC`
pub fn time(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.microseconds()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_to_the_second() {
        assert_eq!(time(Timestamp::from_microseconds(1_790_000_000_250_000)), "2026-09-21 14:13:20 UTC");
        assert_eq!(time(Timestamp::from_microseconds(i64::MAX)), i64::MAX.to_string());
    }
}

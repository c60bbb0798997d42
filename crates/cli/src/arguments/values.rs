//! What options take, from the text that people write.

use std::str::FromStr;
use std::time::Duration;

use cinderblock_pipeline::{ReadData, Settings};
use cinderblock_store::VolumeId;
use clap::ValueEnum;

use crate::output::size;

/// What `--parent` takes.
#[derive(Clone, Debug)]
pub enum Parent {
    Auto,
    None,
    Backup(String),
}

impl FromStr for Parent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Parent::Auto),
            "none" => Ok(Parent::None),
            text => backup(text).map(Parent::Backup).map_err(|error| format!("{error}, auto or none")),
        }
    }
}

/// What `--chunker` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Chunker {
    Fixed,
    Fastcdc,
}

/// A UUID or the beginning of one, with `VOLUME/` before it or without, or `VOLUME/latest`; which backup it means, the repository tells.
pub(super) fn backup(text: &str) -> Result<String, String> {
    let (volume, id) = text.rsplit_once('/').map_or((None, text), |(volume, id)| (Some(volume), id));
    let is_id = (1..=36).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let fits =
        (is_id || volume.is_some() && id == "latest") && volume.is_none_or(|volume| VolumeId::new(volume).is_ok());
    if fits {
        return Ok(text.to_owned());
    }
    Err("it has to be a backup's id, the beginning of one, or VOLUME/latest".to_owned())
}

/// All, or a share in percent.
pub(super) fn read_data(text: &str) -> Result<ReadData, String> {
    match text {
        "all" => Ok(ReadData::All),
        text => text.parse().map(ReadData::Share),
    }
}

pub(super) fn memory(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text).ok_or("write it like 512M or 1GiB")?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes >= Settings::MIN_MEMORY_BYTES => Ok(bytes),
        Ok(_) => Err(format!("at least {}MiB are needed", Settings::MIN_MEMORY_BYTES >> 20)),
        Err(_) => Err("that is more than this machine can address".to_owned()),
    }
}

/// Such as `90s`, `10m`, `1h30m` or `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::Span>().map_err(|_| "write it like 90s, 10m, 1h30m or 2d".to_owned())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "a time that lies behind us".to_owned())
}

/// Less than a day keeps nothing from anybody, and what is kept for more than ten years by a slip of the pen nobody can take back.
pub(super) fn lock_period(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    match duration(text)? {
        period if (DAY..=DAY * 3650).contains(&period) => Ok(Duration::from_secs(period.as_secs())),
        _ => Err("it has to be from 1d to 3650d".to_owned()),
    }
}

/// A session renews itself every 5 minutes: less than three times that would hit those that are only slow.
pub(super) fn fence_after(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long >= Duration::from_secs(900) => Ok(long),
        _ => Err("at least 15m: backups at work give a sign of life every 5 minutes".to_owned()),
    }
}

/// More threads than this are a slip of the pen.
const MAX_THREADS: usize = 1024;

pub(super) fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_THREADS).contains(number));
    number.ok_or_else(|| format!("it has to be a number from 1 to {MAX_THREADS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_least_size() {
        assert_eq!(memory("96M"), Ok(96 << 20));
        assert_eq!(memory("1GiB"), Ok(1 << 30));
        for text in ["95M", "0", "", "-1", "lots", "96MB", "99999999999T"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("0s", 0), ("1 week", 604_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "-1h", "1 fortnight", "1mo"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(fence_after("14m").is_err() && fence_after("15m").is_ok());
    }

    #[test]
    fn a_backup_is_the_beginning_of_a_uuid() {
        for text in ["3", "3f2b", "3F2B8C1E-5d0a-4c6f-9b1d-2e7a4f6c8d90"] {
            assert_eq!(backup(text).as_deref(), Ok(text));
        }
        for text in ["", "..", "../x", "a/", "/b", "../b", "a/b/c", "3f2b 8c1e", "é", &"0".repeat(37)] {
            assert!(backup(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lock_has_a_period_that_means_something() {
        assert_eq!(lock_period("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for text in ["23h", "0d", "3651d", "30", "-1d"] {
            assert!(lock_period(text).is_err(), "{text}");
        }
    }
}

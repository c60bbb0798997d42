//! `protect` and `prune`

use cinderblock_store::retention::{Count, Period, Policy};
use cinderblock_store::{Timestamp, VolumeId};
use clap::Args;
use jiff::civil::{Date, DateTime};
use jiff::{ToSpan, Zoned};

#[derive(Debug, Args)]
pub struct Protect {
    /// Their ids, or the beginnings of them
    #[arg(value_name = "BACKUP", value_parser = super::backup, required = true)]
    pub backups: Vec<String>,

    /// When protection ends by itself: after 30d or 1y6m; with the end of 2027-01-31; at "2027-01-31 18:00", in the time
    /// zone of this host; at 2027-01-31T18:00:00Z [default: not before --remove]
    #[arg(long, value_name = "TIME", value_parser = future, conflicts_with = "remove")]
    pub until: Option<Timestamp>,

    /// Lift the protection
    #[arg(long)]
    pub remove: bool,
}

/// Of each volume every backup is kept that any of the rules wants, and the others are deleted. Of each hour, day and so on
/// the newest backup is kept, in the time zone of this host. Protected backups are kept in any case, and not counted.
#[derive(Debug, Args)]
pub struct Prune {
    #[command(flatten)]
    pub rules: Rules,

    /// Of this volume only
    #[arg(long, value_name = "ID")]
    pub volume_id: Option<VolumeId>,

    /// Only tell what would be kept and deleted
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Each N is a number, or unlimited; 0 is as if the rule was not given.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to keep (N is a number, or unlimited)")]
pub struct Rules {
    /// The newest N backups
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    pub keep_last: Count,

    /// The newest of each of the last N hours with a backup
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    pub keep_hourly: Count,

    /// The newest of each of the last N days with a backup
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    pub keep_daily: Count,

    /// The newest of each of the last N weeks with a backup; weeks begin on Mondays
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    pub keep_weekly: Count,

    /// The newest of each of the last N months with a backup
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    pub keep_monthly: Count,

    /// The newest of each of the last N years with a backup
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    pub keep_yearly: Count,

    /// All that are less than this older than the volume's newest, such as 30d or 2y5m7d3h
    #[arg(long, value_name = "DURATION")]
    pub keep_within: Option<Period>,
}

impl Rules {
    pub fn policy(&self) -> Policy {
        Policy {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
            within: self.keep_within,
        }
    }
}

fn future(text: &str) -> Result<Timestamp, String> {
    until(text, &Zoned::now())
}

/// A time after `now`, in whose time zone texts without one are meant.
fn until(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let zone = now.time_zone();
    let time = if let Ok(period) = text.parse::<Period>() {
        period.after(now).map(|time| time.timestamp())
    } else if let Ok(time) = text.parse::<jiff::Timestamp>() {
        Some(time)
    } else if text.contains(':') {
        text.parse::<DateTime>().and_then(|time| time.to_zoned(zone.clone())).ok().map(|time| time.timestamp())
    } else {
        // To the end of the day.
        let end = text.parse::<Date>().and_then(|date| date.checked_add(1.day())?.to_zoned(zone.clone()));
        end.ok().map(|time| time.timestamp())
    };
    match time {
        Some(time) if time > now.timestamp() => Ok(Timestamp::from_microseconds(time.as_microsecond())),
        Some(_) => Err("it is in the past".to_owned()),
        None => Err("write it like 30d, 1y6m, 2027-01-31, '2027-01-31 18:00' or 2027-01-31T18:00:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn times_are_taken_as_people_write_them() {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        let now = "2026-11-24T12:00".parse::<DateTime>().unwrap().to_zoned(zone).unwrap();
        for (text, time) in [
            ("30d", "2026-12-24T17:00:00Z"),
            ("1y6m", "2028-05-24T16:00:00Z"),
            ("2h", "2026-11-24T19:00:00Z"),
            ("2026-11-24", "2026-11-25T05:00:00Z"),
            ("2027-07-01", "2027-07-02T04:00:00Z"),
            ("2027-01-31 18:00", "2027-01-31T23:00:00Z"),
            ("2027-01-31T18:00:30", "2027-01-31T23:00:30Z"),
            ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
            ("2027-01-31T18:00:00+02:00", "2027-01-31T16:00:00Z"),
        ] {
            assert_eq!(until(text, &now), Ok(time.parse().unwrap()), "{text}");
        }
        for text in ["2026-11-23", "2026-11-24 11:59", "2026-11-24T17:00:00Z", "1970-01-01"] {
            assert_eq!(until(text, &now), Err("it is in the past".to_owned()), "{text}");
        }
        for text in ["", "tomorrow", "30", "-1d", "0d", "2027-02-30", "2027-13-01", "25:00", "9999y", "9999-12-31"] {
            assert!(until(text, &now).is_err_and(|said| said.starts_with("write")), "{text}");
        }
    }
}

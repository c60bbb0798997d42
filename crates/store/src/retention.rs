//! Which backups of a volume to keep: rules as those of `restic forget`, worked out without touching a repository.
//!
//! A backup is kept if any rule wants it. Rules count backups from the newest to older ones:
//!
//! * `last` wants that many backups.
//! * `hourly` to `yearly` want the newest backup of each of that many hours, days, weeks (Monday to Sunday), months or
//!   years that have one. Where backups do not reach back far enough for that, the oldest one is wanted too: it
//!   is kept until as many periods have come together.
//! * `within` wants all that are less than a period older than the newest.
//!
//! Periods are those of a time zone's calendar. Backups that are protected or that cannot be read are always kept, and the rules
//! pass over them: they take no place of another. (Only `within` counts from the newest of all that can be read.) Where the rules want none
//! but damaged backups, the newest that is whole is kept too.
//!
//! ```
//! use cinderblock_store::{BackupId, Timestamp};
//! use cinderblock_store::retention::{Candidate, Policy, Verdict};
//!
//! let policy = Policy { last: "1".parse()?, daily: "7".parse()?, ..Policy::default() };
//! let at = |hour: i64| Candidate {
//!     id: BackupId::from_bytes([hour as u8; 16]),
//!     created_at: Some(Timestamp::from_microseconds(hour * 3_600_000_000)),
//!     protected: false,
//!     damaged: false,
//! };
//! let verdicts = policy.apply(&[at(0), at(1), at(2), at(30)], &jiff::tz::TimeZone::UTC);
//! // The first is the oldest; the second is neither that nor the newest of its day.
//! assert_eq!(verdicts.iter().map(Verdict::keeps).collect::<Vec<_>>(), [true, false, true, true]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod count;
mod period;

use std::cmp::Reverse;
use std::fmt;

use jiff::Zoned;
use jiff::tz::TimeZone;

pub use count::Count;
pub use period::Period;

use crate::id::BackupId;
use crate::time::Timestamp;

/// Rules by which backups are kept. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How many of the newest.
    pub last: Count,
    /// The newest of how many hours.
    pub hourly: Count,
    /// The newest of how many days.
    pub daily: Count,
    /// The newest of how many weeks, which begin on Mondays (ISO 8601).
    pub weekly: Count,
    /// The newest of how many months.
    pub monthly: Count,
    /// The newest of how many years.
    pub yearly: Count,
    /// How long before the newest.
    pub within: Option<Period>,
}

/// A backup of the volume that the rules are applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its identity, which decides between backups of one time.
    pub id: BackupId,
    /// When it was taken. None where its record cannot be read.
    pub created_at: Option<Timestamp>,
    /// Whether it must not be deleted, whatever the rules say.
    pub protected: bool,
    /// Whether it is known to lack something.
    pub damaged: bool,
}

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week from Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// Why a backup is kept. Shown in few words, such as `daily` or `oldest monthly`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Its record cannot be read.
    Unreadable,
    /// It is protected.
    Protected,
    /// It is locked, and nobody can delete it before that time.
    Locked(Timestamp),
    /// It is one of the newest.
    Last,
    /// It is the newest of its hour, day and so on.
    Newest(Unit),
    /// It is the oldest, and there are fewer hours, days and so on than the rule wants.
    Oldest(Unit),
    /// It was taken shortly before the newest, or is the newest.
    Within(Period),
    /// It is the newest that is not damaged, and all others that are kept are.
    NewestWhole,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let adverb = |unit: &Unit| match unit {
            Unit::Hour => "hourly",
            Unit::Day => "daily",
            Unit::Week => "weekly",
            Unit::Month => "monthly",
            Unit::Year => "yearly",
        };
        match self {
            Reason::Unreadable => f.write_str("unreadable"),
            Reason::Protected => f.write_str("protected"),
            Reason::Locked(until) => write!(f, "locked until {until}"),
            Reason::Last => f.write_str("last"),
            Reason::Newest(unit) => f.write_str(adverb(unit)),
            Reason::Oldest(unit) => write!(f, "oldest {}", adverb(unit)),
            Reason::Within(period) => write!(f, "within {period}"),
            Reason::NewestWhole => f.write_str("newest whole"),
        }
    }
}

/// What the rules say of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it is kept; none where it is not.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether the backup is kept.
    pub fn keeps(&self) -> bool {
        !self.reasons.is_empty()
    }
}

impl Policy {
    /// Whether there is no rule. Applied all the same, it would keep only what is protected or cannot be read.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies the rules to all backups of one volume, in any order; a verdict for each, in the same order.
    pub fn apply(&self, backups: &[Candidate], zone: &TimeZone) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::default(); backups.len()];
        let mut dated = Vec::with_capacity(backups.len());
        for (index, (backup, verdict)) in backups.iter().zip(&mut verdicts).enumerate() {
            match backup.created_at {
                Some(time) => dated.push((Reverse((time, backup.id)), index)),
                None => verdict.reasons.push(Reason::Unreadable),
            }
            if backup.protected {
                verdict.reasons.push(Reason::Protected);
            }
        }
        // Newest first.
        dated.sort_unstable();
        let zoned = |time: Timestamp| clamped(time).to_zoned(zone.clone());
        let limit = dated.first().zip(self.within).map(|((Reverse((newest, _)), _), period)| {
            // What reaches back behind the beginning of the calendar takes all.
            (period, period.before(&zoned(*newest)).map(|time| time.timestamp().as_microsecond()))
        });
        let counted: Vec<_> = dated.into_iter().filter(|(_, index)| !is_protected(backups, *index)).collect();
        let mut rules = [
            (None, self.last),
            (Some(Unit::Hour), self.hourly),
            (Some(Unit::Day), self.daily),
            (Some(Unit::Week), self.weekly),
            (Some(Unit::Month), self.monthly),
            (Some(Unit::Year), self.yearly),
        ]
        .map(|(unit, count)| Rule { unit, left: count, latest: None });
        for (place, (Reverse((time, _)), index)) in counted.iter().enumerate() {
            let Some(Verdict { reasons }) = verdicts.get_mut(*index) else { continue };
            let local = zoned(*time);
            let is_oldest = place + 1 == counted.len();
            reasons.extend(rules.iter_mut().filter_map(|rule| rule.wants(&local, is_oldest)));
            if let Some((period, limit)) = limit
                && limit.is_none_or(|limit| clamped(*time).as_microsecond() > limit)
            {
                reasons.push(Reason::Within(period));
            }
        }
        let is_whole = |index: usize| backups.get(index).is_some_and(|b| !b.damaged && b.created_at.is_some());
        let kept = || verdicts.iter().enumerate().filter(|(_, verdict)| verdict.keeps());
        if !self.is_empty()
            && kept().next().is_some()
            && !kept().any(|(index, _)| is_whole(index))
            && let Some((_, index)) = counted.iter().find(|(_, index)| is_whole(*index))
            && let Some(Verdict { reasons }) = verdicts.get_mut(*index)
        {
            reasons.push(Reason::NewestWhole);
        }
        verdicts
    }
}

fn is_protected(backups: &[Candidate], index: usize) -> bool {
    backups.get(index).is_some_and(|backup| backup.protected)
}

/// The time, or where the calendar does not have it (years before -9999 and after 9999), the nearest that it has.
fn clamped(time: Timestamp) -> jiff::Timestamp {
    let end = if time.microseconds() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(time.microseconds()).unwrap_or(end)
}

/// A rule while it walks from the newest backup to the oldest.
struct Rule {
    /// None: each backup is a period of its own.
    unit: Option<Unit>,
    /// How many more it wants.
    left: Count,
    /// The period of the last one that it wanted.
    latest: Option<[i16; 4]>,
}

impl Rule {
    fn wants(&mut self, time: &Zoned, is_oldest: bool) -> Option<Reason> {
        if self.left == Count::Number(0) {
            return None;
        }
        let reason = match self.unit {
            None => Reason::Last,
            Some(unit) => {
                let period = period_of(time, unit);
                if self.latest.replace(period) != Some(period) {
                    Reason::Newest(unit)
                } else if is_oldest {
                    Reason::Oldest(unit)
                } else {
                    return None;
                }
            }
        };
        self.left.take_one();
        Some(reason)
    }
}

/// What is equal for times of one period, and for no others.
fn period_of(time: &Zoned, unit: Unit) -> [i16; 4] {
    let (year, month, day) = (time.year(), time.month().into(), time.day().into());
    match unit {
        Unit::Hour => [year, month, day, time.hour().into()],
        Unit::Day => [year, month, day, 0],
        Unit::Week => {
            let week = time.date().iso_week_date();
            [week.year(), week.week().into(), 0, 0]
        }
        Unit::Month => [year, month, 0, 0],
        Unit::Year => [year, 0, 0, 0],
    }
}

#[cfg(test)]
mod tests;

use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Its id is its place among them.
fn candidates(zone: &TimeZone, times: &[&str]) -> Result<Vec<Candidate>, jiff::Error> {
    let candidate = |(place, text): (usize, &&str)| {
        let time = text.parse::<DateTime>()?.to_zoned(zone.clone())?.timestamp();
        Ok(Candidate {
            id: BackupId::from_bytes([place as u8; 16]),
            created_at: Some(Timestamp::from_microseconds(time.as_microsecond())),
            protected: false,
            damaged: false,
        })
    };
    times.iter().enumerate().map(candidate).collect()
}

/// The reasons of each, in words.
fn reasons(policy: &Policy, backups: &[Candidate], zone: &TimeZone) -> Vec<String> {
    let words = |verdict: &Verdict| verdict.reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join(", ");
    policy.apply(backups, zone).iter().map(words).collect()
}

const fn number(number: u32) -> Count {
    Count::Number(number)
}

#[test]
fn last_keeps_the_newest() -> TestResult {
    let backups = candidates(&TimeZone::UTC, &["2026-01-03T00:00", "2026-01-01T00:00", "2026-01-02T00:00"])?;
    let policy = Policy { last: number(2), ..Policy::default() };
    assert_eq!(reasons(&policy, &backups, &TimeZone::UTC), ["last", "", "last"]);
    let all = Policy { last: Count::Unlimited, ..Policy::default() };
    assert_eq!(reasons(&all, &backups, &TimeZone::UTC), ["last"; 3]);
    assert_eq!(reasons(&Policy::default(), &backups, &TimeZone::UTC), [""; 3]);
    Ok(())
}

#[test]
fn the_newest_of_each_period_is_kept_and_empty_periods_do_not_count() -> TestResult {
    let times = [
        "2026-11-24T23:59",
        "2026-11-24T00:00",
        "2026-11-23T12:00", // Monday
        "2026-11-22T12:00", // Sunday, a week before
        "2026-11-01T12:00",
        "2025-12-31T12:00",
        "2025-12-29T12:00", // in the first week of 2026, as the one after it
        "2024-05-01T12:00",
    ];
    let backups = candidates(&TimeZone::UTC, &times)?;
    let with = |policy: Policy| reasons(&policy, &backups, &TimeZone::UTC);
    let none = Policy::default;
    assert_eq!(
        with(Policy { daily: number(4), ..none() }),
        ["daily", "", "daily", "daily", "daily", "", "", ""],
        "four days that have one"
    );
    assert_eq!(
        with(Policy { weekly: number(4), ..none() }),
        ["weekly", "", "", "weekly", "weekly", "weekly", "", ""],
        "weeks begin on Mondays, and belong to one year"
    );
    assert_eq!(with(Policy { monthly: number(2), ..none() }), ["monthly", "", "", "", "", "monthly", "", ""]);
    assert_eq!(with(Policy { yearly: number(2), ..none() }), ["yearly", "", "", "", "", "yearly", "", ""]);
    assert_eq!(with(Policy { hourly: number(2), ..none() }), ["hourly", "hourly", "", "", "", "", "", ""]);
    let several = Policy { last: number(1), daily: number(2), yearly: number(1), ..none() };
    assert_eq!(with(several), ["last, daily, yearly", "", "daily", "", "", "", "", ""]);
    Ok(())
}

#[test]
fn the_oldest_is_kept_until_there_are_periods_enough() -> TestResult {
    let backups = candidates(&TimeZone::UTC, &["2026-01-01T00:00", "2026-01-01T12:00", "2026-02-01T00:00"])?;
    let monthly = |count| Policy { monthly: count, ..Policy::default() };
    assert_eq!(reasons(&monthly(number(2)), &backups, &TimeZone::UTC), ["", "monthly", "monthly"]);
    assert_eq!(reasons(&monthly(number(3)), &backups, &TimeZone::UTC), ["oldest monthly", "monthly", "monthly"]);
    assert_eq!(reasons(&monthly(Count::Unlimited), &backups, &TimeZone::UTC), ["oldest monthly", "monthly", "monthly"]);
    Ok(())
}

#[test]
fn within_counts_from_the_newest_backup_and_not_from_today() -> TestResult {
    let backups = candidates(&TimeZone::UTC, &["2001-01-31T12:00", "2001-01-01T12:00", "2001-01-01T12:00:01"])?;
    let policy = Policy { within: Some("30d".parse()?), ..Policy::default() };
    assert_eq!(reasons(&policy, &backups, &TimeZone::UTC), ["within 30d", "", "within 30d"]);
    let all = Policy { within: Some("9999y".parse()?), ..Policy::default() };
    assert_eq!(reasons(&all, &backups, &TimeZone::UTC), ["within 9999y"; 3]);
    Ok(())
}

#[test]
fn days_are_those_of_the_time_zone() -> TestResult {
    // 20:00 and 01:00 are one day in UTC, and two in New York.
    let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0")?;
    let backups = candidates(&TimeZone::UTC, &["2026-07-02T01:00", "2026-07-02T20:00"])?;
    let policy = Policy { daily: number(2), ..Policy::default() };
    assert_eq!(reasons(&policy, &backups, &zone), ["daily", "daily"]);
    let policy = Policy { daily: number(1), ..Policy::default() };
    assert_eq!(reasons(&policy, &backups, &zone), ["", "daily"]);
    Ok(())
}

#[test]
fn protected_and_unreadable_backups_take_no_place_of_another() -> TestResult {
    let mut backups =
        candidates(&TimeZone::UTC, &["2026-01-01T00:00", "2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"])?;
    backups[3].protected = true;
    backups[1].created_at = None;
    let policy = Policy { last: number(1), ..Policy::default() };
    assert_eq!(reasons(&policy, &backups, &TimeZone::UTC), ["", "unreadable", "last", "protected"]);
    let policy = Policy { within: Some("24h".parse()?), ..Policy::default() };
    assert_eq!(reasons(&policy, &backups, &TimeZone::UTC), ["", "unreadable", "", "protected"]);
    Ok(())
}

#[test]
fn times_that_no_calendar_has_are_no_trouble() -> TestResult {
    let mut backups = candidates(&TimeZone::UTC, &["2026-01-01T00:00"; 3])?;
    backups[0].created_at = Some(Timestamp::from_microseconds(i64::MIN));
    backups[2].created_at = Some(Timestamp::from_microseconds(i64::MAX));
    let policy = Policy { yearly: number(9), within: Some("1h".parse()?), ..Policy::default() };
    for zone in [TimeZone::UTC, TimeZone::posix("AAA24")?, TimeZone::posix("BBB-24")?] {
        assert_eq!(reasons(&policy, &backups, &zone), ["yearly", "yearly", "yearly, within 1h"]);
    }
    Ok(())
}

fn zone() -> impl Strategy<Value = TimeZone> {
    // Here the clocks go back over midnight, so that a day comes back after the next has begun.
    let back_over_midnight = TimeZone::posix("AAA3BBB,M10.3.0/0,M2.3.0/0:30").expect("a time zone");
    prop_oneof![2 => zone_of_days_in_order(), 1 => Just(back_over_midnight)]
}

fn zone_of_days_in_order() -> impl Strategy<Value = TimeZone> {
    prop_oneof![Just(TimeZone::UTC), Just(TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").expect("a time zone"))]
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![3 => Just(number(0)), 4 => (1..9_u32).prop_map(Count::Number), 1 => Just(Count::Unlimited)]
}

fn policy() -> impl Strategy<Value = Policy> {
    let within = prop::option::of(prop_oneof![Just("5h"), Just("3d"), Just("2m"), Just("1y2d")]);
    (count(), count(), count(), count(), count(), count(), within).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly, within)| Policy {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within: within.map(|text| text.parse().expect("a period")),
        },
    )
}

/// Backups minutes to months apart, some at the same time, in any order.
fn backups() -> impl Strategy<Value = Vec<Candidate>> {
    let gap = prop_oneof![Just(0), 1..7_200_i64, 1..200_000_i64, 1..9_000_000_i64];
    let backup = (gap, prop::bool::weighted(0.1), prop::bool::weighted(0.05));
    let made = prop::collection::vec(backup, 0..60).prop_map(|gaps| {
        let mut seconds = 1_700_000_000;
        let candidates = gaps.into_iter().enumerate().map(|(place, (gap, protected, unreadable))| {
            seconds += gap;
            let created_at = (!unreadable).then(|| Timestamp::from_microseconds(seconds * 1_000_000));
            Candidate { id: BackupId::from_bytes([place as u8; 16]), created_at, protected, damaged: false }
        });
        candidates.collect::<Vec<_>>()
    });
    made.prop_shuffle()
}

fn kept(policy: &Policy, backups: &[Candidate], zone: &TimeZone) -> Vec<Candidate> {
    let verdicts = policy.apply(backups, zone);
    assert_eq!(verdicts.len(), backups.len());
    backups.iter().zip(verdicts).filter(|(_, verdict)| verdict.keeps()).map(|(backup, _)| *backup).collect()
}

proptest! {
    #[test]
    fn the_newest_is_kept_by_any_rule(policy in policy(), backups in backups(), zone in zone()) {
        let newest = backups.iter().filter(|b| b.created_at.is_some()).max_by_key(|b| (b.created_at, b.id));
        let kept = kept(&policy, &backups, &zone);
        if let Some(newest) = newest.filter(|_| !policy.is_empty()) {
            prop_assert!(kept.contains(newest));
        }
        let always = backups.iter().filter(|b| b.protected || b.created_at.is_none());
        if policy.is_empty() {
            prop_assert_eq!(kept, always.copied().collect::<Vec<_>>());
        } else {
            prop_assert!(always.into_iter().all(|backup| kept.contains(backup)));
        }
    }

    #[test]
    fn more_rules_keep_more(a in policy(), b in policy(), backups in backups(), zone in zone()) {
        let more = |a: Count, b: Count| match (a, b) {
            (Count::Number(a), Count::Number(b)) => Count::Number(a.max(b)),
            _ => Count::Unlimited,
        };
        let both = Policy {
            last: more(a.last, b.last),
            hourly: more(a.hourly, b.hourly),
            daily: more(a.daily, b.daily),
            weekly: more(a.weekly, b.weekly),
            monthly: more(a.monthly, b.monthly),
            yearly: more(a.yearly, b.yearly),
            within: a.within.or(b.within),
        };
        let with_both = kept(&both, &backups, &zone);
        prop_assert!(kept(&a, &backups, &zone).iter().all(|backup| with_both.contains(backup)));
    }

    #[test]
    fn the_second_time_nothing_is_removed(policy in policy(), backups in backups(), zone in zone()) {
        let once = kept(&policy, &backups, &zone);
        prop_assert_eq!(kept(&policy, &once, &zone), once);
    }

    #[test]
    fn last_keeps_as_many_as_it_says(last in 0..70_u32, backups in backups(), zone in zone()) {
        let policy = Policy { last: number(last), ..Policy::default() };
        let always = backups.iter().filter(|b| b.protected || b.created_at.is_none()).count();
        let counted = backups.len() - always;
        prop_assert_eq!(kept(&policy, &backups, &zone).len(), always + counted.min(last as usize));
    }

    #[test]
    fn a_rule_keeps_one_of_each_period_and_the_oldest(
        days in 1..20_u32,
        backups in backups(),
        zone in zone_of_days_in_order(),
    ) {
        // The same by sorting into periods, which holds where clocks do not go back over midnight.
        let mut dated: Vec<_> = backups.iter().filter(|b| !b.protected && b.created_at.is_some()).collect();
        dated.sort_by_key(|b| Reverse((b.created_at, b.id)));
        let day = |b: &Candidate| b.created_at.map(|time| clamped(time).to_zoned(zone.clone()).date());
        let mut expected = Vec::new();
        for backup in &dated {
            if expected.len() < days as usize && !expected.iter().any(|kept: &Candidate| day(kept) == day(backup)) {
                expected.push(**backup);
            }
        }
        if let Some(oldest) = dated.last()
            && expected.len() < days as usize
            && !expected.contains(oldest)
        {
            expected.push(**oldest);
        }
        let policy = Policy { daily: number(days), ..Policy::default() };
        let mut kept = kept(&policy, &backups, &zone);
        kept.retain(|b| !b.protected && b.created_at.is_some());
        kept.sort_by_key(|b| Reverse((b.created_at, b.id)));
        prop_assert_eq!(kept, expected);
    }

    /// Idempotence over nights: what is removed on one day would not have been wanted by the same rules later.
    #[test]
    fn pruning_every_time_keeps_what_pruning_once_keeps(last in 1..5_u32, daily in 1..5_u32, backups in backups()) {
        // Only rules without an oldest one that fills up: that is wanted while it is not known what will come.
        let mut backups: Vec<_> = backups.into_iter().filter(|b| b.created_at.is_some()).collect();
        backups.sort_by_key(|b| (b.created_at, b.id));
        let policy = Policy { last: number(last), daily: number(daily), ..Policy::default() };
        let mut left = Vec::new();
        for backup in &backups {
            left.push(*backup);
            left = kept(&policy, &left, &TimeZone::UTC);
        }
        let once = kept(&policy, &backups, &TimeZone::UTC);
        let missing: Vec<_> = once.iter().filter(|backup| !left.contains(backup)).collect();
        prop_assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn where_all_that_is_wanted_is_damaged_the_newest_whole_one_stays() -> Result<(), Box<dyn std::error::Error>> {
    let mut backups =
        candidates(&TimeZone::UTC, &["2026-01-01T00:00", "2026-01-02T00:00", "2026-01-03T00:00", "2026-01-04T00:00"])?;
    (backups[2].damaged, backups[3].damaged) = (true, true);
    let policy = Policy { last: "1".parse()?, ..Policy::default() };
    let reasons: Vec<Vec<Reason>> = policy.apply(&backups, &TimeZone::UTC).into_iter().map(|v| v.reasons).collect();
    assert_eq!(reasons, [vec![], vec![Reason::NewestWhole], vec![], vec![Reason::Last]]);
    // One that is whole is kept already.
    let policy = Policy { last: "3".parse()?, ..Policy::default() };
    let reasons: Vec<Vec<Reason>> = policy.apply(&backups, &TimeZone::UTC).into_iter().map(|v| v.reasons).collect();
    assert_eq!(reasons, [vec![], vec![Reason::Last], vec![Reason::Last], vec![Reason::Last]]);
    // Without a rule nothing is wanted, also where another backup is kept because it cannot be read.
    assert!(!Policy::default().apply(&backups, &TimeZone::UTC).iter().any(Verdict::keeps));
    backups[0].created_at = None;
    let reasons: Vec<Vec<Reason>> =
        Policy::default().apply(&backups, &TimeZone::UTC).into_iter().map(|v| v.reasons).collect();
    assert_eq!(reasons, [vec![Reason::Unreadable], vec![], vec![], vec![]]);
    Ok(())
}

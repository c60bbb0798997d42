//! Stretches of time as people write them.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, Zoned};

/// A stretch of time in a calendar's years, months and days, and in hours: `2y5m7d3h`, `30d`. It is longer than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    years: u32,
    months: u32,
    days: u32,
    hours: u32,
}

/// Largest number of any of the units.
const MOST: u32 = 9999;

impl Period {
    /// The time that is this long before another. Where the month has no such day, its last one. None where the calendar does
    /// not reach.
    pub fn before(&self, time: &Zoned) -> Option<Zoned> {
        time.checked_sub(self.span()?).ok()
    }

    /// The time that is this long after another, in the same way.
    pub fn after(&self, time: &Zoned) -> Option<Zoned> {
        time.checked_add(self.span()?).ok()
    }

    fn span(&self) -> Option<Span> {
        let span = Span::new().try_years(self.years).ok()?.try_months(self.months).ok()?;
        span.try_days(self.days).ok()?.try_hours(self.hours).ok()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "write it like 30d, 12h or 1y6m7d3h: years, months, days and hours, each once and at most 9999";
        let mut numbers = [None; 4];
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at(digits);
            let mut characters = behind.chars();
            let place = characters.next().and_then(|unit| "ymdh".find(unit));
            let slot = place.and_then(|place| numbers.get_mut(place)).ok_or(form)?;
            let number: u32 = number.parse().ok().filter(|number| *number <= MOST).ok_or(form)?;
            if slot.replace(number).is_some() {
                return Err(form);
            }
            rest = characters.as_str();
        }
        let [years, months, days, hours] = numbers.map(Option::unwrap_or_default);
        if [years, months, days, hours] == [0; 4] {
            return Err(if text.is_empty() { form } else { "it has to be longer than nothing" });
        }
        Ok(Self { years, months, days, hours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_period_has_each_unit_once() {
        for (text, period) in [
            ("2y5m7d3h", [2, 5, 7, 3]),
            ("30d", [0, 0, 30, 0]),
            ("3h1y", [1, 0, 0, 3]),
            ("9999y9999m9999d9999h", [9999; 4]),
        ] {
            let [years, months, days, hours] = period;
            assert_eq!(text.parse(), Ok(Period { years, months, days, hours }), "{text}");
        }
        for text in ["", "d", "30", "30 d", "1d1d", "2w", "-1d", "+1d", "0d", "0y0h", "10000d", "1dé", "1D", "1.5d"] {
            assert!(text.parse::<Period>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn calendars_decide_how_long_it_is() -> Result<(), Box<dyn std::error::Error>> {
        let zone = jiff::tz::TimeZone::posix("EST5EDT,M3.2.0,M11.1.0")?;
        let at = |text: &str| text.parse::<jiff::civil::DateTime>().and_then(|time| time.to_zoned(zone.clone()));
        let cases = [
            ("1m", "2026-03-31T12:00", "2026-02-28T12:00"),
            ("1y", "2028-02-29T12:00", "2027-02-28T12:00"),
            // Clocks were put forward in between: a day is one of the calendar, hours are hours.
            ("1d", "2026-03-08T12:00", "2026-03-07T12:00"),
            ("24h", "2026-03-08T12:00", "2026-03-07T11:00"),
        ];
        for (text, time, before) in cases {
            assert_eq!(text.parse::<Period>()?.before(&at(time)?), Some(at(before)?), "{text}");
        }
        assert_eq!("2d".parse::<Period>()?.after(&at("2026-12-30T12:00")?), Some(at("2027-01-01T12:00")?));
        assert_eq!("9999y".parse::<Period>()?.after(&at("2026-01-01T00:00")?), None);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_shown_is_taken(numbers in [0..=MOST, 0..=MOST, 0..=MOST, 0..=MOST]) {
            let [years, months, days, hours] = numbers;
            let period = Period { years, months, days, hours };
            prop_assert!(numbers == [0; 4] || period.to_string().parse() == Ok(period));
            prop_assert!(period.span().is_some());
        }
    }
}

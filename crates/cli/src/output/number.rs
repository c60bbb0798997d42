//! Counts, shares and durations as people read them.

use std::time::Duration;

/// `3,850`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 chunk`, `3,850 chunks`
pub fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// How many times as large the first is: `2.9 x`. None where the second is zero.
pub fn ratio(large: u64, small: u64) -> Option<String> {
    (small > 0).then(|| format!("{:.1} x", large as f64 / small as f64))
}

/// How much of the whole the part is: `63.2 %`; `100.0 %` only where it is all.
pub fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// `0.31 s`, `2 min 5 s`, `1 h 2 min`
pub fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.2} s", duration.as_secs_f64()),
        _ => coarse_duration(duration),
    }
}

/// The same in whole seconds: `6 s`
pub fn coarse_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
        assert_eq!(counted(1, "chunk"), "1 chunk");
        assert_eq!(counted(3850, "chunk"), "3,850 chunks");
    }

    #[test]
    fn a_ratio_needs_something_to_compare_with() {
        assert_eq!(ratio(29, 10).as_deref(), Some("2.9 x"));
        assert_eq!(ratio(1, 0), None);
    }

    #[test]
    fn a_part_is_the_whole_only_where_it_is_all() {
        for (part, whole, shown) in [(0, 0, "0.0 %"), (1, 3, "33.3 %"), (9_999, 10_000, "99.9 %"), (7, 7, "100.0 %")] {
            assert_eq!(percent(part, whole), shown);
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (milliseconds, shown) in
            [(310, "0.31 s"), (59_990, "59.99 s"), (125_400, "2 min 5 s"), (3_725_000, "1 h 2 min")]
        {
            assert_eq!(duration(Duration::from_millis(milliseconds)), shown);
        }
        assert_eq!(coarse_duration(Duration::from_millis(6100)), "6 s");
    }
}

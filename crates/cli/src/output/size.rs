//! Sizes in bytes as people write and read them: in units of 1,024.

use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `512 B`, `120.3 MiB`
pub fn show(bytes: u64) -> String {
    match scaled(bytes) {
        Some((number, unit)) => format!("{number:.1} {unit}"),
        None => format!("{bytes} B"),
    }
}

/// The same without a decimal from 100 on, where there is little room: `120 MiB`
pub fn short(bytes: u64) -> String {
    match scaled(bytes) {
        Some((number, unit)) if number >= 99.95 => format!("{number:.0} {unit}"),
        _ => show(bytes),
    }
}

/// In the unit that suits; none below 1 KiB.
fn scaled(bytes: u64) -> Option<(f64, &'static str)> {
    if bytes < 1024 {
        return None;
    }
    let mut number = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next()?;
    // What would be rounded to 1024 is 1.0 of the next unit.
    while number >= 1023.5 {
        let Some(next) = units.next() else { break };
        unit = next;
        number /= 1024.0;
    }
    Some((number, unit))
}

/// `1.4 GiB/s`. None where no time has passed.
pub fn rate(bytes: u64, time: Duration) -> Option<String> {
    per_second(bytes, time).map(|bytes| format!("{}/s", show(bytes)))
}

/// The same as [`short`].
pub fn short_rate(bytes: u64, time: Duration) -> Option<String> {
    per_second(bytes, time).map(|bytes| format!("{}/s", short(bytes)))
}

fn per_second(bytes: u64, time: Duration) -> Option<u64> {
    (!time.is_zero()).then(|| (bytes as f64 / time.as_secs_f64()) as u64)
}

/// Takes a number of bytes, or of units of 1,024 as `K` or `KiB`, `M` or `MiB`, `G` or `GiB`, `T` or `TiB`, in either case.
/// `KB` and such are refused: to some they mean powers of ten.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_never_1024_of_a_unit() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (126_143_693, "120.3 MiB"),
            (16 << 40, "16.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(show(bytes), shown);
        }
        for (bytes, shown) in
            [(1000, "1000 B"), (104_805_000, "99.9 MiB"), (104_857_000, "100 MiB"), (1 << 30, "1.0 GiB")]
        {
            assert_eq!(short(bytes), shown);
        }
    }

    #[test]
    fn a_rate_needs_time() {
        assert_eq!(rate(1 << 30, Duration::from_millis(500)).as_deref(), Some("2.0 GiB/s"));
        assert_eq!(rate(1 << 30, Duration::ZERO), None);
    }

    #[test]
    fn sizes_are_taken_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("512M", 512 << 20), ("1GiB", 1 << 30), (" 2 tib ", 2 << 40), ("64k", 64 << 10), ("7", 7)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "M", "1MB", "-1", "+1", "1.5G", "0x10", "1 G 2", "18014398509481985K", "99999999999999999999"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

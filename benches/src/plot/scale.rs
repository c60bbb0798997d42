//! [`Scale`]: which values an axis shows, where, and with what ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// An axis, linear from 0 or logarithmic.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    log: bool,
    ticks: Vec<f64>,
    ends: (f64, f64),
}

impl Scale {
    /// An axis from 0 that has room for all `values`.
    #[must_use]
    pub fn linear(values: impl IntoIterator<Item = f64>) -> Self {
        let most = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_up(most / 5.0);
        let count = (most / step).ceil() as u32;
        let ticks: Vec<_> = (0..=count).map(|number| f64::from(number) * step).collect();
        Self { log: false, ends: (0.0, f64::from(count) * step), ticks }
    }

    /// A logarithmic axis that has room for all `values` above 0.
    #[must_use]
    pub fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) =
            positive.fold((f64::MAX, 0.0), |(least, most): (f64, f64), value| (least.min(value), most.max(value)));
        let (least, most) = if most > 0.0 { (least, most) } else { (1.0, 10.0) };
        let first = (least.log10() + 1e-9).floor() as i32;
        let last = ((most.log10() - 1e-9).ceil() as i32).max(first + 1);
        let ticks: Vec<_> = (first..=last).map(|power| 10_f64.powi(power)).collect();
        Self { log: true, ends: (10_f64.powi(first), 10_f64.powi(last)), ticks }
    }

    /// Its lower and its upper end.
    #[must_use]
    pub fn ends(&self) -> (f64, f64) {
        self.ends
    }

    /// Where `value` lies between the ends, from 0 to 1; what is not above 0 lies at a logarithmic axis's lower end.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let (first, last) = self.ends;
        if self.log {
            value.max(first).log(last / first) - first.log(last / first)
        } else {
            (value - first) / (last - first)
        }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        pixels.0 + (f64::from(pixels.1 - pixels.0) * self.place(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.ends.0..self.ends.1
    }
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let digits = [1.0, 2.0, 2.5, 5.0].into_iter().find(|digit| digit * power >= value * (1.0 - 1e-9));
    digits.unwrap_or(10.0) * power
}

/// A number in at most three digits where it is small, and with k, M, G (10^3, 10^6, 10^9) where it is large.
#[must_use]
pub fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 999.5e6 => (value / 1e9, " G"),
        size if size >= 999.5e3 => (value / 1e6, " M"),
        size if size >= 9_999.5 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_0_and_has_round_ticks() {
        let scale = Scale::linear([3.0, 437.0]);
        assert_eq!(scale.ends(), (0.0, 500.0));
        assert_eq!(scale.ticks, [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(scale.map(&100.0, (20, 1020)), 220);
        assert_eq!(scale.map(&100.0, (500, 0)), 400);
        assert_eq!(Scale::linear([]).ends(), (0.0, 1.0));
        assert_eq!(Scale::linear([0.9]).ends(), (0.0, 1.0));
    }

    #[test]
    fn a_logarithmic_axis_gives_each_power_of_ten_the_same_room() {
        let scale = Scale::log([0.06, 31.0, 0.0]);
        assert_eq!(scale.ends(), (0.01, 100.0));
        assert_eq!(scale.ticks.len(), 5);
        for (value, pixel) in [(0.0, 0), (0.01, 0), (0.1, 100), (1.0, 200), (100.0, 400)] {
            assert_eq!(scale.map(&value, (0, 400)), pixel, "{value}");
        }
        assert_eq!(scale.map(&20.0, (0, 400)) - scale.map(&2.0, (0, 400)), 100);
        assert_eq!(Scale::log([1e6, 1e8]).ends(), (1e6, 1e8));
        assert_eq!(Scale::log([5.0]).ends(), (1.0, 10.0));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.058, "0.058"),
            (0.3123, "0.31"),
            (2.0, "2"),
            (30.38, "30.4"),
            (325.4, "325"),
            (1953.0, "1953"),
            (20_000.0, "20 k"),
            (1e6, "1 M"),
            (2.5e9, "2.5 G"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}

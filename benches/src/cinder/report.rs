//! Medians of several rounds, as a table and as JSON.

use std::fmt;

use serde::Serialize;

use super::rounds::Step;
use crate::measure::Measured;
use crate::report::median_seconds;

/// The medians of all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Number of rounds.
    pub rounds: usize,
    /// Bytes of a data object.
    pub chunk_size: u64,
    /// Whether the volume had no holes.
    pub dense: bool,
    /// Of each compression the steps, in order.
    pub steps: Vec<Row>,
}

/// One step's medians. Each is the median of its own column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub step: &'static str,
    /// How the objects are compressed.
    pub compression: String,
    /// Seconds within the real driver.
    pub real_seconds: Option<f64>,
    /// Peak resident memory of the real driver's process, in MiB.
    pub real_peak_mib: Option<f64>,
    /// What our process took.
    pub ours: Measured,
    /// The real driver's seconds divided by the wall seconds of our process.
    pub factor: Option<f64>,
    /// Most processor seconds that other processes used in a round while the step's two ran.
    pub most_others: f64,
}

impl Row {
    /// The medians of one step, of `compression`, in several rounds.
    #[must_use]
    pub fn of(compression: &str, rounds: &[Step]) -> Self {
        let median = |of: fn(&Step) -> f64| median_seconds(rounds.iter().map(of).collect()).unwrap_or_default();
        let real = |of: fn(&Step) -> Option<f64>| median_seconds(rounds.iter().filter_map(of).collect());
        let ours = Measured {
            wall: median(|step| step.ours.wall),
            cpu: median(|step| step.ours.cpu),
            peak_mib: median(|step| step.ours.peak_mib),
        };
        let real_seconds = real(|step| step.real.map(|timed| timed.seconds));
        Self {
            step: rounds.first().map_or("", |step| step.name),
            compression: compression.to_owned(),
            real_seconds,
            real_peak_mib: real(|step| step.real.map(|timed| timed.process.peak_mib)),
            ours,
            factor: real_seconds.map(|seconds| seconds / ours.wall),
            most_others: rounds.iter().map(|step| step.others).fold(0.0, f64::max),
        }
    }
}

impl fmt::Display for Report {
    /// A Markdown table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| step | compression | real s | ours s | factor | ours CPU s | ours peak MiB | real peak MiB |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in &self.steps {
            let number = |value: Option<f64>, digits| value.map_or("-".into(), |value| format!("{value:.digits$}"));
            let Measured { wall, cpu, peak_mib } = row.ours;
            writeln!(
                f,
                "| {} | {} | {} | {wall:.2} | {} | {cpu:.2} | {peak_mib:.0} | {} |",
                row.step,
                row.compression,
                number(row.real_seconds, 2),
                number(row.factor, 1),
                number(row.real_peak_mib, 0)
            )?;
        }
        let s = if self.rounds == 1 { "" } else { "s" };
        let volume = if self.dense { "a volume without holes" } else { "the volume with its holes" };
        write!(
            f,
            "\nMedians of {} round{s}, on {volume}, in objects of {} bytes. Real: the seconds within the driver; an \
             export is set against its full backup. Ours: the whole process.",
            self.rounds, self.chunk_size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cinder::real::Timed;

    fn step(real: Option<f64>, ours: f64) -> Step {
        let measured = Measured { wall: ours, cpu: 2.0 * ours, peak_mib: 100.0 };
        let process = Measured { wall: 9.0, cpu: 9.0, peak_mib: 400.0 };
        Step { name: "export", real: real.map(|seconds| Timed { seconds, process }), ours: measured, others: ours }
    }

    #[test]
    fn a_table_shows_medians_and_factors() {
        let beside = Row::of("zstd", &[step(Some(9.0), 2.0), step(Some(6.0), 0.5), step(Some(1.0), 1.0)]);
        let alone = Row::of("none", &[step(None, 3.0)]);
        let report = Report { rounds: 3, chunk_size: 52_428_800, dense: false, steps: vec![beside, alone] };
        let printed = report.to_string();
        let lines: Vec<&str> = printed.lines().skip(2).take(2).collect();
        assert_eq!(
            lines,
            [
                "| export | zstd | 6.00 | 1.00 | 6.0 | 2.00 | 100 | 400 |",
                "| export | none | - | 3.00 | - | 6.00 | 100 | - |"
            ]
        );
        assert!(
            printed.contains("\n\nMedians of 3 rounds, on the volume with its holes, in objects of 52428800 bytes.")
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["steps"][0]["ours"]["wall"], 1.0);
        assert_eq!(json["steps"][0]["most_others"], 2.0);
        assert_eq!(json["steps"][1]["factor"], serde_json::Value::Null);
    }
}

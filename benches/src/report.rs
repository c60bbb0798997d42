//! Medians of several rounds, as a table and as JSON.

use std::path::Path;
use std::{fmt, fs};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::measure::Measured;

/// One step of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// What the command took for it.
    pub measured: Measured,
    /// Wall seconds of the limit, for a step that has one.
    pub limit: Option<f64>,
}

/// One round: its steps, and the size of what it stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Round {
    /// In the order in which they ran; the same in every round.
    pub steps: Vec<Step>,
    /// Bytes of the repository of the family of volumes at the end.
    pub stored_bytes: u64,
    /// Bytes of the frames alone, at the limit.
    pub limit_stored_bytes: u64,
}

/// The medians of all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Number of rounds.
    pub rounds: usize,
    /// Threads of the limit.
    pub threads: usize,
    /// The steps, in order.
    pub steps: Vec<Row>,
    /// Median bytes of the repository.
    pub stored_bytes: u64,
    /// Median bytes of the frames alone, at the limit.
    pub limit_stored_bytes: u64,
}

/// One step's medians. Each is the median of its own column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub step: &'static str,
    /// What the command took.
    #[serde(flatten)]
    pub measured: Measured,
    /// Wall seconds of the limit.
    pub limit: Option<f64>,
    /// The command's wall seconds divided by the limit's.
    pub ratio: Option<f64>,
}

impl Report {
    /// The medians of `rounds`, whose limit ran on `threads` threads.
    #[must_use]
    pub fn of(rounds: &[Round], threads: usize) -> Self {
        let count = rounds.first().map_or(0, |round| round.steps.len());
        let steps = (0..count).map(|number| row(rounds, number)).collect();
        let bytes = |of: fn(&Round) -> u64| median(rounds.iter().map(of).collect());
        Self {
            rounds: rounds.len(),
            threads,
            steps,
            stored_bytes: bytes(|round| round.stored_bytes).unwrap_or_default(),
            limit_stored_bytes: bytes(|round| round.limit_stored_bytes).unwrap_or_default(),
        }
    }
}

fn row(rounds: &[Round], number: usize) -> Row {
    let steps: Vec<&Step> = rounds.iter().map(|round| &round.steps[number]).collect();
    let of = |value: fn(&Step) -> f64| median_seconds(steps.iter().map(|step| value(step)).collect());
    let measured = Measured {
        wall: of(|step| step.measured.wall).unwrap_or_default(),
        cpu: of(|step| step.measured.cpu).unwrap_or_default(),
        peak_mib: of(|step| step.measured.peak_mib).unwrap_or_default(),
    };
    let limit = median_seconds(steps.iter().filter_map(|step| step.limit).collect());
    Row { step: steps[0].name, measured, limit, ratio: limit.map(|limit| measured.wall / limit) }
}

/// The middle of the values; of an even number of them, the higher of the two. `None` of none.
fn median<T: Copy + Ord>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The middle of the seconds; of an even number of them, the higher of the two. `None` of none.
#[must_use]
pub fn median_seconds(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Writes what was measured to a file, as JSON, and the file's folder.
///
/// # Errors
/// It cannot be written.
pub fn write_json(path: &Path, results: &impl Serialize) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(context)?;
    }
    fs::write(path, serde_json::to_string_pretty(results)? + "\n").with_context(context)
}

impl fmt::Display for Report {
    /// A Markdown table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| step | cinderblock s (cpu s, MiB) | limit s | ratio |")?;
        writeln!(f, "|---|---|---|---|")?;
        for row in &self.steps {
            let Measured { wall, cpu, peak_mib } = row.measured;
            write!(f, "| {} | {wall:.2} ({cpu:.2}, {peak_mib:.0}) |", row.step)?;
            match (row.limit, row.ratio) {
                (Some(limit), Some(ratio)) => writeln!(f, " {limit:.2} | {ratio:.2} |")?,
                _ => writeln!(f, " - | - |")?,
            }
        }
        let (stored, limit) = (self.stored_bytes as f64 / 1e6, self.limit_stored_bytes as f64 / 1e6);
        writeln!(f, "| stored MB | {stored:.1} | {limit:.1} | {:.2} |", stored / limit)?;
        let s = |count| if count == 1 { "" } else { "s" };
        let (rounds, threads) = (self.rounds, self.threads);
        write!(f, "\nMedians of {rounds} round{}; the limit on {threads} thread{}.", s(rounds), s(threads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(wall: f64, limit: f64, stored: u64) -> Round {
        let measured = Measured { wall, cpu: 2.0 * wall, peak_mib: 100.0 };
        let steps =
            vec![Step { name: "first", measured, limit: Some(limit) }, Step { name: "restore", measured, limit: None }];
        Round { steps, stored_bytes: stored, limit_stored_bytes: 2_000_000 }
    }

    #[test]
    fn a_table_shows_medians_and_ratios() {
        let rounds = [round(9.0, 1.0, 4_000_000), round(1.5, 3.0, 4_000_000), round(3.0, 2.0, 6_000_000)];
        let report = Report::of(&rounds, 2);
        assert_eq!(
            report.to_string(),
            "| step | cinderblock s (cpu s, MiB) | limit s | ratio |\n\
             |---|---|---|---|\n\
             | first | 3.00 (6.00, 100) | 2.00 | 1.50 |\n\
             | restore | 3.00 (6.00, 100) | - | - |\n\
             | stored MB | 4.0 | 2.0 | 2.00 |\n\
             \nMedians of 3 rounds; the limit on 2 threads."
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["steps"][0]["wall"], 3.0);
        assert_eq!(json["steps"][1]["limit"], serde_json::Value::Null);
    }
}

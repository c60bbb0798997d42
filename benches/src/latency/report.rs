//! The table of a run.

use std::collections::BTreeMap;

use crate::measure::Measured;

/// What a step took.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Its process or processes.
    pub measured: Measured,
    /// Requests by kind.
    pub requests: BTreeMap<String, u64>,
    /// Bytes that went over the line.
    pub bytes: u64,
}

impl Outcome {
    /// Adds what a later step took.
    pub fn add(&mut self, next: &Outcome) {
        self.measured.add(&next.measured);
        self.bytes += next.bytes;
        for (kind, count) in &next.requests {
            *self.requests.entry(kind.clone()).or_default() += count;
        }
    }
}

/// A Markdown table of steps, each without and with latency.
pub fn table(steps: &[(String, Outcome, Outcome)]) -> String {
    let mut text = String::from(
        "| step | s without latency (CPU s) | s with latency (CPU s) | throughput kept | MB over the line | requests | MiB |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, near, far) in steps {
        let kept = 100.0 * near.measured.wall / far.measured.wall;
        let requests: Vec<_> = far.requests.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let peak = near.measured.peak_mib.max(far.measured.peak_mib);
        text += &format!(
            "| {name} | {:.2} ({:.2}) | {:.2} ({:.2}) | {kept:.0} % | {:.1} | {} | {peak:.0} |\n",
            near.measured.wall,
            near.measured.cpu,
            far.measured.wall,
            far.measured.cpu,
            far.bytes as f64 / 1e6,
            requests.join(", "),
        );
    }
    text
}

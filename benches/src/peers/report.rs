//! [`Results`] as Markdown tables.

use std::fmt::Write;

use super::course::Step;
use super::results::{LIMIT, Results, Tool};
use super::table::CINDERBLOCK;

/// The tables of all that was measured: volumes as they are, volumes without holes, stored bytes as backups are added.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for (dense, title) in [(false, "Volumes as they are"), (true, "Without holes, as block devices show them")] {
        if results.tools.iter().any(|tool| !tool.rounds(dense).is_empty()) {
            let _ = writeln!(text, "### {title}\n\n{}", steps(results, dense));
        }
    }
    if results.tools.iter().any(|tool| !tool.growth.is_empty()) {
        let _ = writeln!(text, "### Stored MB as backups are added\n\n{}", growth(results));
    }
    let _ = writeln!(text, "Machine: {}.", results.machine);
    text
}

/// The seconds of each step.
fn steps(results: &Results, dense: bool) -> String {
    let mut text = String::from("| tool, rounds |");
    for step in Step::ALL {
        let _ = write!(text, " {} s |", step.title());
    }
    let _ = writeln!(text, " stored MB | most memory MiB |\n|---|{}", "---:|".repeat(Step::ALL.len() + 2));
    for tool in results.tools.iter().filter(|tool| !tool.rounds(dense).is_empty()) {
        let name = format!("{} {}", tool.name, tool.version);
        let _ = write!(text, "| {}, {} |", name.trim(), tool.rounds(dense).len());
        for step in Step::ALL {
            let star = if step == Step::RestoreOver && tool.new_files_only { "\\*" } else { "" };
            let _ = match tool.median(dense, step) {
                Some(measured) => write!(text, " {:.2}{star} |", measured.wall),
                None => write!(text, " – |"),
            };
        }
        let stored = tool.stored_bytes(dense).unwrap_or_default() as f64 / 1e6;
        let peak = tool.peak_mib(dense).map_or("–".into(), |peak| format!("{peak:.0}"));
        let _ = writeln!(text, " {stored:.1} | {peak} |");
    }
    if let Some(ours) = results.tool(CINDERBLOCK.name) {
        text += &ratios("cinderblock, × the limit", |step| {
            let limit = results.tool(LIMIT)?.median(dense, step)?.wall;
            Some(ours.median(dense, step)?.wall / limit)
        });
        text += &ratios("the fastest peer, × cinderblock", |step| {
            let walls = results.others(CINDERBLOCK.name).filter_map(|tool| tool.median(dense, step));
            Some(walls.map(|measured| measured.wall).reduce(f64::min)? / ours.median(dense, step)?.wall)
        });
    }
    text + &notes(results, dense)
}

fn ratios(title: &str, of: impl Fn(Step) -> Option<f64>) -> String {
    let cell = |step| of(step).map_or(" – |".into(), |ratio| format!(" **{ratio:.2}** |"));
    format!("| *{title}* |{} | |\n", Step::ALL.into_iter().map(cell).collect::<String>())
}

fn notes(results: &Results, dense: bool) -> String {
    let measured: Vec<&Tool> = results.tools.iter().filter(|tool| !tool.rounds(dense).is_empty()).collect();
    let set = measured.iter().filter(|tool| !tool.settings.is_empty());
    let set: Vec<_> = set.map(|tool| format!("{}: {}", tool.name, tool.settings)).collect();
    let mut text = String::from("\nMedians of the rounds.");
    if measured.iter().any(|tool| tool.new_files_only) {
        text += " \\* It writes new files only: this is its restore to a new file.";
    }
    if !set.is_empty() {
        let _ = write!(text, " Settings: {}.", set.join("; "));
    }
    text + "\n"
}

/// The stored bytes after some of the backups.
fn growth(results: &Results) -> String {
    let tools: Vec<&Tool> = results.tools.iter().filter(|tool| !tool.growth.is_empty()).collect();
    let backups = tools.iter().map(|tool| tool.growth.len()).max().unwrap_or_default();
    let shown: Vec<usize> =
        (1..=backups).filter(|&number| number == 1 || number == backups || number % 5 == 0).collect();
    let mut text = String::from("| tool |");
    for number in &shown {
        let s = if *number == 1 { "" } else { "s" };
        let _ = write!(text, " {number} backup{s} |");
    }
    let _ = writeln!(text, "\n|---|{}", "---:|".repeat(shown.len()));
    for tool in tools {
        let name = format!("{} {}", tool.name, tool.version);
        let _ = write!(text, "| {} |", name.trim());
        for number in &shown {
            let _ = match tool.growth.get(number - 1) {
                Some(bytes) => write!(text, " {:.1} |", *bytes as f64 / 1e6),
                None => write!(text, " – |"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Measured;
    use crate::peers::results::Round;

    fn tool(name: &str, version: &str, first: f64, over: Option<f64>, peak_mib: f64) -> Tool {
        let mut round = Round { stored_bytes: 2_500_000, ..Round::default() };
        let mut add = |step, wall| round.add(step, Measured { wall, cpu: wall, peak_mib });
        add(Step::First, first);
        over.into_iter().for_each(|wall| add(Step::RestoreOver, wall));
        Tool { name: name.into(), version: version.into(), sparse: vec![round], ..Tool::default() }
    }

    #[test]
    fn a_table_shows_the_tools_what_they_lack_and_the_ratios() {
        let star = Tool { new_files_only: true, settings: "fast".into(), ..tool("slow", "7.1", 8.0, Some(3.0), 50.0) };
        let grown = Tool { growth: vec![1_000_000, 2_000_000], ..tool("cinderblock", "0.1.0", 2.0, None, 20.4) };
        let tools = vec![tool(LIMIT, "", 1.0, None, 0.0), grown, star, tool("lazy", "1", 9.0, None, 1.0)];
        let text = markdown(&Results { machine: "a machine".into(), tools, ..Results::default() });
        for line in [
            "| limit, 1 | 1.00 | – | – | – | – | – | – | 2.5 | – |",
            "| cinderblock 0.1.0, 1 | 2.00 | – | – | – | – | – | – | 2.5 | 20 |",
            "| slow 7.1, 1 | 8.00 | – | – | – | – | 3.00\\* | – | 2.5 | 50 |",
            "| *cinderblock, × the limit* | **2.00** | – | – | – | – | – | – | | |",
            "| *the fastest peer, × cinderblock* | **4.00** | – | – | – | – | – | – | | |",
            "| cinderblock 0.1.0 | 1.0 | 2.0 |",
            "Machine: a machine.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        assert!(text.contains("Settings: slow: fast.") && !text.contains("Without holes"));
    }
}

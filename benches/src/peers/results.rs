//! [`Results`]: the numbers of all tools, as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::course::Step;
use crate::measure::Measured;
use crate::report::{median_seconds, write_json};

/// The name under which the limit is found beside the tools.
pub const LIMIT: &str = "limit";

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The machine, in words.
    pub machine: String,
    /// Data in the volumes, in bytes: golden's, and all five's.
    pub data_bytes: [u64; 2],
    /// The limit and the tools, in the order of the tables.
    pub tools: Vec<Tool>,
}

/// One tool's numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Its version; empty for the limit.
    pub version: String,
    /// How it was set.
    pub settings: String,
    /// Whether it restores to new files only: then "over an older version" is a restore to a new file.
    pub new_files_only: bool,
    /// Its rounds with the volumes as they are.
    pub sparse: Vec<Round>,
    /// Its rounds with the volumes without holes.
    pub dense: Vec<Round>,
    /// Bytes stored after each of a number of backups of one volume.
    pub growth: Vec<u64>,
}

/// One round of one tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// What each step took; a step that the tool does not have is missing.
    pub steps: BTreeMap<Step, Measured>,
    /// Bytes of its repository at the end.
    pub stored_bytes: u64,
}

impl Round {
    /// Adds a step.
    pub fn add(&mut self, step: Step, measured: Measured) {
        self.steps.insert(step, measured);
    }
}

impl Tool {
    /// The rounds with volumes as they are, or `dense`.
    #[must_use]
    pub fn rounds(&self, dense: bool) -> &[Round] {
        if dense { &self.dense } else { &self.sparse }
    }

    /// Medians of a step over the rounds; each is the median of its own number. `None` where the tool does not have it.
    #[must_use]
    pub fn median(&self, dense: bool, step: Step) -> Option<Measured> {
        let measured: Vec<_> = self.rounds(dense).iter().filter_map(|round| round.steps.get(&step)).collect();
        let of = |value: fn(&Measured) -> f64| median_seconds(measured.iter().map(|m| value(m)).collect());
        Some(Measured { wall: of(|m| m.wall)?, cpu: of(|m| m.cpu)?, peak_mib: of(|m| m.peak_mib)? })
    }

    /// Median bytes stored after a round. `None` without rounds.
    #[must_use]
    pub fn stored_bytes(&self, dense: bool) -> Option<u64> {
        let mut bytes: Vec<_> = self.rounds(dense).iter().map(|round| round.stored_bytes).collect();
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied()
    }

    /// The most memory, in MiB, of the medians of all steps. `None` for the limit, which is no process.
    #[must_use]
    pub fn peak_mib(&self, dense: bool) -> Option<f64> {
        let peaks = Step::ALL.into_iter().filter_map(|step| self.median(dense, step)).map(|m| m.peak_mib);
        peaks.reduce(f64::max).filter(|&peak| peak > 0.0)
    }
}

impl Results {
    /// The tool of that name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// The tools that are neither the limit nor `name`.
    pub fn others(&self, name: &str) -> impl Iterator<Item = &Tool> {
        self.tools.iter().filter(move |tool| tool.name != LIMIT && tool.name != name)
    }

    /// Adds what an earlier run measured with the same machine and volumes: its rounds come first, and tools that are
    /// missing here are taken over.
    ///
    /// # Errors
    /// It was another machine, other volumes, or another version of a tool.
    pub fn add_earlier(&mut self, earlier: Self) -> Result<()> {
        let same = self.machine == earlier.machine && self.data_bytes == earlier.data_bytes;
        anyhow::ensure!(
            same,
            "the earlier results are of another machine or of other volumes: start anew without --add"
        );
        for mut old in earlier.tools {
            let Some(new) = self.tools.iter_mut().find(|tool| tool.name == old.name) else {
                self.tools.push(old);
                continue;
            };
            anyhow::ensure!(
                new.version == old.version,
                "the earlier results are of {} {}, these of {}: start anew without --add",
                old.name,
                old.version,
                new.version
            );
            old.sparse.append(&mut new.sparse);
            old.dense.append(&mut new.dense);
            if !new.growth.is_empty() {
                old.growth = std::mem::take(&mut new.growth);
            }
            *new = old;
        }
        Ok(())
    }

    /// Puts the tools into the order of `names`; others come last.
    pub fn sort(&mut self, names: &[&str]) {
        self.tools.sort_by_key(|tool| names.iter().position(|name| *name == tool.name).unwrap_or(names.len()));
    }

    /// Reads the file `path`.
    ///
    /// # Errors
    /// It can't be read, or is not what [`write`](Self::write) writes.
    pub fn read(path: &Path) -> Result<Self> {
        let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&json).with_context(|| format!("{} is not what `peers` writes", path.display()))
    }

    /// Writes the file `path` and its folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, walls: &[f64]) -> Tool {
        let round = |&wall: &f64| {
            let mut round = Round { stored_bytes: (wall * 1e6) as u64, ..Round::default() };
            round.add(Step::First, Measured { wall, cpu: 2.0 * wall, peak_mib: 10.0 * wall });
            round
        };
        Tool { name: name.into(), version: "1".into(), sparse: walls.iter().map(round).collect(), ..Tool::default() }
    }

    #[test]
    fn medians_are_of_all_rounds_and_missing_where_there_is_no_step() {
        let tool = tool("a", &[3.0, 1.0, 2.0]);
        assert_eq!(tool.median(false, Step::First), Some(Measured { wall: 2.0, cpu: 4.0, peak_mib: 20.0 }));
        assert_eq!((tool.median(false, Step::Verify), tool.median(true, Step::First)), (None, None));
        assert_eq!((tool.stored_bytes(false), tool.stored_bytes(true)), (Some(2_000_000), None));
        assert_eq!(tool.peak_mib(false), Some(20.0));
    }

    #[test]
    fn earlier_rounds_of_the_same_machine_are_added_and_others_refused() {
        let results = |machine: &str, tools| Results { machine: machine.into(), tools, ..Results::default() };
        let mut new = results("m", vec![tool("a", &[1.0])]);
        new.add_earlier(results("m", vec![tool("b", &[5.0]), tool("a", &[2.0, 3.0])])).unwrap();
        new.sort(&["b", "a"]);
        assert_eq!(
            new.tools.iter().map(|tool| (&tool.name[..], tool.sparse.len())).collect::<Vec<_>>(),
            [("b", 1), ("a", 3)]
        );
        assert!(new.add_earlier(results("other", vec![])).is_err());
        let newer = Tool { version: "2".into(), ..tool("a", &[1.0]) };
        assert!(new.add_earlier(results("m", vec![newer])).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/peers.json");
        let results = Results { machine: "m".into(), tools: vec![tool("a", &[1.5])], data_bytes: [1, 2] };
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        fs::write(&path, "{}").unwrap();
        assert!(Results::read(&path).is_err());
    }
}

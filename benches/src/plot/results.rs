//! The plots of what the benchmarks wrote into their folder of results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bars::{self, Bar, Whose};
use super::lines::{self, Line, Panel};
use crate::large::{Point, Sizes, Sparse, Stream};
use crate::peers::course::Step;
use crate::peers::results::{LIMIT, Results, Tool};
use crate::peers::table::{CINDERBLOCK, TOOLS};

/// `index.json`: the index at several sizes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Index {
    /// The machine, in words.
    pub machine: String,
    /// The sizes, the smallest first.
    pub points: Vec<IndexPoint>,
}

/// The index at one size. What was not measured may be missing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct IndexPoint {
    /// Chunks in it.
    pub chunks: f64,
    /// Bytes of disk for each.
    pub bytes_per_chunk: Option<f64>,
    /// Microseconds to learn that a chunk is not there.
    pub miss_us: Option<f64>,
    /// Microseconds to find one of any place.
    pub random_hit_us: Option<f64>,
    /// Microseconds to find one beside one that was found before.
    pub near_hit_us: Option<f64>,
    /// Milliseconds to open it.
    pub open_ms: Option<f64>,
    /// Chunks a second when it is made of segments.
    pub rebuild_per_s: Option<f64>,
    /// Peak memory in MiB.
    pub peak_mib: Option<f64>,
}

/// Makes a plot in the folder `plots` of each file that is in the folder `results`; the names of the plots.
///
/// # Errors
/// A file is not what its benchmark writes, or a plot cannot be written.
pub fn draw(results: &Path, plots: &Path) -> Result<Vec<String>> {
    let mut drawn = Vec::new();
    if let Some(peers) = read::<Results>(results, "peers.json")? {
        drawn.extend(draw_peers(&peers, plots)?);
    }
    if let Some(index) = read::<Index>(results, "index.json")? {
        drawn.push(write(plots, "index.svg", &self::index(&index)?)?);
    }
    let (sparse, stream) = (read::<Sizes>(results, "large.json")?, read::<Stream>(results, "large-stream.json")?);
    if sparse.is_some() || stream.is_some() {
        drawn.push(write(plots, "large.svg", &large(stream.as_ref(), sparse.as_ref())?)?);
    }
    Ok(drawn)
}

/// Makes the plots of the peers in the folder `plots`; their names.
///
/// # Errors
/// A plot cannot be written.
pub fn draw_peers(results: &Results, plots: &Path) -> Result<Vec<String>> {
    let mut drawn = Vec::new();
    for (dense, name) in [(false, "peers.svg"), (true, "peers-dense.svg")] {
        if results.tools.iter().any(|tool| !tool.rounds(dense).is_empty()) {
            drawn.push(write(plots, name, &time(results, dense)?)?);
        }
    }
    if results.tools.iter().any(|tool| !tool.growth.is_empty()) {
        drawn.push(write(plots, "growth.svg", &growth(results)?)?);
    }
    Ok(drawn)
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let json = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let what = || format!("{} is not what its benchmark writes", path.display());
    serde_json::from_slice(&json).map(Some).with_context(what)
}

fn write(folder: &Path, name: &str, svg: &str) -> Result<String> {
    let path = folder.join(name);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, svg))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(name.to_owned())
}

/// Time per step, of all tools and the limit.
///
/// # Errors
/// It cannot be drawn.
pub fn time(results: &Results, dense: bool) -> Result<String> {
    let tools: Vec<&Tool> = results.tools.iter().filter(|tool| !tool.rounds(dense).is_empty()).collect();
    let bar = |tool: &&Tool, value| Bar {
        name: if tool.name == LIMIT { "the limit".into() } else { tool.name.clone() },
        value,
        whose: match &tool.name[..] {
            LIMIT => Whose::Limit,
            name if name == CINDERBLOCK.name => Whose::Ours,
            _ => Whose::Peer,
        },
    };
    let panel = |step: Step| bars::Panel {
        title: step.title().into(),
        bars: tools.iter().map(|tool| bar(tool, tool.median(dense, step).map(|measured| measured.wall))).collect(),
    };
    let panels: Vec<_> = Step::ALL.into_iter().map(panel).collect();
    let title = if dense { "Time per step, volumes without holes" } else { "Time per step" };
    let below = format!("Seconds, shorter is better, logarithmic. {}", results.machine);
    bars::svg(title, &below, "s", &panels)
}

/// Stored bytes against the number of backups.
///
/// # Errors
/// It cannot be drawn.
pub fn growth(results: &Results) -> Result<String> {
    let line = |tool: &Tool| {
        let points = tool.growth.iter().zip(1_u32..).map(|(bytes, number)| (f64::from(number), *bytes as f64 / 1e6));
        let colour = TOOLS.iter().position(|recipe| recipe.name == tool.name).unwrap_or(TOOLS.len());
        Line { name: tool.name.clone(), points: points.collect(), colour }
    };
    let panel = Panel {
        title: "stored MB".into(),
        across: "backups".into(),
        log_across: false,
        log_up: false,
        lines: results.tools.iter().filter(|tool| !tool.growth.is_empty()).map(line).collect(),
    };
    let below = "The same volume, 2 % of its data changed before each backup in runs of 64 KiB at any block of 4 KiB.";
    lines::svg("Stored bytes as backups are added", below, &[panel])
}

/// The index's size and latency against its chunks.
///
/// # Errors
/// It cannot be drawn.
pub fn index(index: &Index) -> Result<String> {
    let line = |name: &str, colour, of: fn(&IndexPoint) -> Option<f64>| {
        let points = index.points.iter().filter_map(|point| Some((point.chunks, of(point)?)));
        Line { name: name.into(), points: points.collect(), colour }
    };
    let panel = |title: &str, log_up, lines: Vec<Line>| Panel {
        title: title.into(),
        across: "chunks".into(),
        log_across: true,
        log_up,
        lines: lines.into_iter().filter(|line| !line.points.is_empty()).collect(),
    };
    let panels = [
        panel("bytes of disk for each chunk", false, vec![line("cinderblock", 0, |point| point.bytes_per_chunk)]),
        panel(
            "µs to look up a chunk",
            true,
            vec![
                line("random hit", 1, |point| point.random_hit_us),
                line("miss", 0, |point| point.miss_us),
                line("hit nearby", 3, |point| point.near_hit_us),
            ],
        ),
        panel(
            "ms to open, MiB of memory",
            true,
            vec![line("open, ms", 0, |point| point.open_ms), line("peak, MiB", 1, |point| point.peak_mib)],
        ),
    ];
    lines::svg("The index as it grows", &index.machine, &panels)
}

/// Throughput and memory against the length of a stream, and time and memory against the size of sparse volumes with the same data.
///
/// # Errors
/// It cannot be drawn.
pub fn large(stream: Option<&Stream>, sparse: Option<&Sizes>) -> Result<String> {
    let panel = |title: &str, across: &str, log_across, lines| Panel {
        title: title.into(),
        across: across.into(),
        log_across,
        log_up: false,
        lines,
    };
    let mut panels = Vec::new();
    if let Some(stream) = stream {
        let line = |name: &str, of: fn(&Point) -> f64| {
            let points = stream.points.iter().map(|point| (point.gib as f64, of(point))).collect();
            vec![Line { name: name.into(), points, colour: 0 }]
        };
        let across = "GiB of a stream so far";
        panels.push(panel("MiB a second", across, false, line("each GiB", |point| point.mib_per_s)));
        panels.push(panel("peak memory, MiB", across, false, line("so far", |point| point.peak_mib)));
    }
    if let Some(sparse) = sparse {
        let least = sparse.points.iter().map(|point| point.data_gib).min().unwrap_or(0);
        let line = |name: &str, colour, of: fn(&Sparse) -> f64| {
            let points = sparse.points.iter().filter(|point| point.data_gib <= least);
            Line { name: name.into(), points: points.map(|point| (point.tib as f64, of(point))).collect(), colour }
        };
        let both = |first, unchanged| vec![line("first", 0, first), line("unchanged", 1, unchanged)];
        let across = format!("TiB of a sparse volume with {least} GiB of data");
        panels.push(panel(
            "seconds",
            &across,
            true,
            both(|point| point.first_seconds, |point| point.unchanged_seconds),
        ));
        let peaks = both(|point| point.first_peak_mib, |point| point.unchanged_peak_mib);
        panels.push(panel("peak memory, MiB", &across, true, peaks));
    }
    lines::svg("Backups of large volumes", "", &panels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::write_json;

    #[test]
    fn each_file_of_results_gives_its_plots_and_missing_ones_none() {
        let folder = tempfile::tempdir().unwrap();
        let (results, plots) = (folder.path().join("results"), folder.path().join("new/plots"));
        fs::create_dir(&results).unwrap();
        assert_eq!(draw(&results, &plots).unwrap(), [""; 0]);
        let index = r#"{"machine": "m", "points": [
            {"chunks": 1e6, "bytes_per_chunk": 30, "miss_us": 2, "random_hit_us": 15, "near_hit_us": 0.2, "open_ms": 5},
            {"chunks": 1e8, "bytes_per_chunk": 31, "miss_us": 2.5, "random_hit_us": 19, "near_hit_us": 0.2, "open_ms": 9}]}"#;
        fs::write(results.join("index.json"), index).unwrap();
        // As the benchmark writes them: the plot once wanted another form.
        let point = |gib| Point { gib, mib_per_s: 900.0, peak_mib: 80.0 };
        let stream = Stream { points: vec![point(1), point(64)], seconds: 70.0, stored_bytes: 8 << 30 };
        write_json(&results.join("large-stream.json"), &stream).unwrap();
        let volume = |tib| Sparse {
            tib,
            data_gib: 2,
            first_seconds: 2.0,
            first_peak_mib: 100.0,
            unchanged_seconds: 0.4,
            unchanged_peak_mib: 25.0,
        };
        write_json(&results.join("large.json"), &Sizes { points: vec![volume(1), volume(16)] }).unwrap();
        let tool = Tool { name: "borg".into(), growth: vec![1_000_000, 2_000_000], ..Tool::default() };
        let peers = Results { tools: vec![tool], ..Results::default() };
        peers.write(&results.join("peers.json")).unwrap();
        assert_eq!(draw(&results, &plots).unwrap(), ["growth.svg", "index.svg", "large.svg"]);
        for (name, wanted) in [("growth.svg", "borg"), ("index.svg", "hit nearby"), ("large.svg", "peak memory, MiB")] {
            let svg = fs::read_to_string(plots.join(name)).unwrap();
            let document = roxmltree::Document::parse(&svg).unwrap();
            assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.trim() == wanted)), "{name}");
        }
        fs::write(results.join("large.json"), "{}").unwrap();
        assert!(draw(&results, &plots).unwrap_err().to_string().contains("large.json"));
    }
}

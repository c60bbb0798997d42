//! Makes the plots of the documentation from what the benchmarks wrote.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use cinderblock_benches::plot::results::draw;
use clap::Parser;

/// Make SVG plots of the benchmarks' results.
#[derive(Parser)]
struct Arguments {
    /// Folder with the results: those of peers.json, index.json, large.json and large-stream.json that are there.
    #[arg(long, value_name = "DIR", default_value = "benches/results")]
    results: PathBuf,
    /// Folder for the plots.
    #[arg(long, value_name = "DIR", default_value = "docs/plots")]
    plots: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let drawn = draw(&arguments.results, &arguments.plots)?;
    let folder = arguments.results.display();
    ensure!(!drawn.is_empty(), "there are no results in {folder}: `make bench-peers` writes some");
    for name in drawn {
        println!("{}", arguments.plots.join(name).display());
    }
    Ok(())
}

//! `rebuild-index`

use cinderblock_store::RebuildReport;
use serde::Serialize;

use crate::context::Context;
use crate::failure;
use crate::output::{note, number};

#[derive(Serialize)]
struct Rebuilt {
    segments: u64,
    packs: u64,
    adopted_packs: u64,
    /// What could not be read.
    damage: Vec<String>,
    /// Why segments that are missing could not be written again.
    segments_not_written: Option<String>,
}

pub fn run(context: &Context) -> anyhow::Result<()> {
    let RebuildReport { segments, packs, adopted_packs, damage, segments_not_written, .. } =
        context.repository()?.rebuild_index()?;
    let damage: Vec<anyhow::Error> = damage.into_iter().map(anyhow::Error::new).collect();
    let not_written = segments_not_written.map(|error| format!("{:#}", anyhow::Error::new(error)));
    let rebuilt = Rebuilt {
        segments,
        packs,
        adopted_packs,
        damage: damage.iter().map(|error| format!("{error:#}")).collect(),
        segments_not_written: not_written,
    };
    context.summary(&rebuilt, || text(&rebuilt))?;
    if let Some(reason) = &rebuilt.segments_not_written {
        note(&format!("cinderblock: the index is whole, but missing index segments were not written: {reason}"));
    }
    for error in &damage {
        failure::tell(error);
    }
    if !damage.is_empty() {
        let objects = number::counted(damage.len() as u64, "object");
        anyhow::bail!("{objects} could not be read: 'cinderblock verify' tells which backups need what was in them");
    }
    Ok(())
}

fn text(rebuilt: &Rebuilt) -> String {
    let [segments, packs] =
        [(rebuilt.segments, "segment"), (rebuilt.packs, "pack")].map(|(n, one)| number::counted(n, one));
    let adopted = match rebuilt.adopted_packs {
        0 => String::new(),
        n => format!(" and from {} that no segment named", number::counted(n, "pack")),
    };
    format!("index made anew from {segments}{adopted}: {packs}\n")
}

//! `cinder restore`

use std::time::Instant;

use cinderblock_pipeline::Target;
use serde::Serialize;

use super::facts::BackupFacts;
use crate::arguments::cinder;
use crate::context::Context;
use crate::output::{number, size};
use crate::progress::Phase;

#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    backup: BackupFacts,
    target: String,
    volume_bytes: u64,
    objects_read: u64,
    written_bytes: u64,
    zero_bytes: u64,
    /// The volume's metadata, as Cinder wrote them down: JSON in a text.
    volume_meta: Option<String>,
    seconds: f64,
}

pub fn run(context: &Context, arguments: &cinder::Restore) -> anyhow::Result<()> {
    let control = context.control();
    let driver =
        super::reader(context, &arguments.chain.root, arguments.chain.containers(), context.settings(), &control)?;
    let started = Instant::now();
    let layers = driver.chain(&arguments.chain.layers)?;
    let path = arguments.target.clone();
    let target = if arguments.existing { Target::Existing(path) } else { Target::New(path) };
    let Some(newest) = layers.last() else { return Ok(()) };
    let mut backup = newest.backup();
    let display = context.show_progress(&control, Phase::Restore);
    let summary = driver.restore_layers(&layers, &backup.volume_id, &target);
    drop(display);
    let summary = summary?;
    let time = started.elapsed();
    backup.size_gib = summary.volume_bytes.div_ceil(1 << 30).max(1);
    let restored = Restored {
        backup: BackupFacts::from(&backup),
        target: arguments.target.display().to_string(),
        volume_bytes: summary.volume_bytes,
        objects_read: summary.objects,
        written_bytes: summary.written_bytes,
        zero_bytes: summary.zero_bytes,
        volume_meta: newest.metadata.volume_meta.clone(),
        seconds: time.as_secs_f64(),
    };
    let rate = size::rate(summary.volume_bytes, time).map(|rate| format!(", {rate}")).unwrap_or_default();
    context.summary(&restored, || {
        format!(
            "restored Cinder backup {} of {} to {}: {} from {}, wrote {}, zero {}, {}{rate}\n",
            backup.id,
            backup.volume_id,
            restored.target,
            size::show(summary.volume_bytes),
            number::counted(summary.objects, "object"),
            size::show(summary.written_bytes),
            size::show(summary.zero_bytes),
            number::duration(time),
        )
    })
}

//! `gc`

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Instant;

use cinderblock_store::gc::{GcOptions, GcReport, Observer, Progress};
use serde::Serialize;

use crate::arguments::Gc;
use crate::commands::sessions::{self, SessionFacts};
use crate::context::Context;
use crate::failure;
use crate::output::{note, number, size};

#[derive(Serialize)]
struct Collected {
    dry_run: bool,
    backups: u64,
    packs: u64,
    pack_bytes: u64,
    condemned_packs: u64,
    repacked_packs: u64,
    /// Of these, small packs that were copied together.
    gathered_packs: u64,
    deleted_packs: u64,
    freed_bytes: u64,
    copied_bytes: u64,
    pending_packs: u64,
    /// Small index segments that larger ones took the place of.
    merged_segments: u64,
    packs_kept_for_writers: u64,
    /// Packs that nothing, or little, is needed of, and that are locked.
    locked_packs: u64,
    /// When the first of their locks ends.
    locked_until: Option<String>,
    leftover_files: u64,
    leftover_bytes: u64,
    waiting: Vec<SessionFacts>,
    ended: Vec<SessionFacts>,
    removed_records: Vec<String>,
    missing_chunks: u64,
    damage: Vec<String>,
    /// Chunks and map nodes in packs, and whole packs, that were newly noted as damaged.
    noted_damage: u64,
    /// Why nothing was deleted, where that is so.
    doubts: Vec<String>,
    seconds: f64,
}

/// What is added to the niceness of a collection.
const NICE: i32 = 10;

pub fn run(context: &Context, arguments: &Gc) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let control = context.control();
    let started = Instant::now();
    let options = GcOptions {
        grace: arguments.grace,
        fence_after: arguments.fence_after,
        repack_below: arguments.repack_below,
        gather: arguments.gather,
        dry_run: arguments.dry_run,
    };
    give_way();
    let spinner = context.spinner();
    let told = Cell::new(false);
    let hear = |progress: &Progress| {
        let text = text_of(progress);
        match &spinner {
            Some(spinner) => spinner.show(&text),
            // Without a terminal, only what takes long is worth a line.
            None if matches!(progress, Progress::Waiting { .. }) && !told.replace(true) => {
                context.summary_aside(|| text);
            }
            None => {}
        }
        !control.cancel.is_cancelled()
    };
    let report = repository.collect_garbage(&options, &Observer::new(&hear)).map_err(anyhow::Error::new);
    drop(spinner);
    let report = report.map_err(|error| {
        let least = match failure::is_full(&error) && (arguments.repack_below > 0 || arguments.gather) {
            true => " ('cinderblock gc --repack-below 0' copies nothing, and needs the least room)",
            false => "",
        };
        error.context(format!("the collection did not end; nothing is lost, and the next one goes on with it{least}"))
    })?;
    let collected = Collected::new(&report, arguments.dry_run, started.elapsed().as_secs_f64());
    context.summary(&collected, || text(&collected))?;
    for error in report.damage.into_iter().chain(report.doubts) {
        failure::tell(&anyhow::Error::new(error));
    }
    if collected.missing_chunks > 0 {
        let missing = number::counted(collected.missing_chunks, "chunk");
        let are = if collected.missing_chunks == 1 { "is" } else { "are" };
        note(&format!("cinderblock: {missing} that backups need {are} missing: 'cinderblock verify' tells of which"));
    }
    if !collected.doubts.is_empty() {
        anyhow::bail!(
            "nothing was deleted: what the objects above need is not known; restore them from a copy of the repository, or delete the backups, \
             then collect again"
        );
    }
    if !collected.damage.is_empty() {
        anyhow::bail!("damaged objects were kept: 'cinderblock verify --read-data' tells which backups need them");
    }
    Ok(())
}

/// Lets backups and everything else on this host go first: nobody waits for a collection. Where that is refused, it runs as it is.
fn give_way() {
    let _ = rustix::process::nice(NICE);
}

fn text_of(progress: &Progress) -> String {
    match progress {
        Progress::Marking { done, total } => format!("marking what backups need, {done} of {total} backups"),
        Progress::Copying { done, total } => format!("copying what is needed out of packs, {done} of {total}"),
        Progress::Deleting { done, total } => format!("deleting packs, {done} of {total}"),
        Progress::Waiting { sessions } => {
            let first = sessions.first().map(sessions::describe).unwrap_or_default();
            match sessions.len() {
                0 | 1 => format!("waiting for {first}"),
                more => format!("waiting for {first} and {} more", more - 1),
            }
        }
        _ => String::new(),
    }
}

impl Collected {
    fn new(report: &GcReport, dry_run: bool, seconds: f64) -> Self {
        let texts = |errors: &[cinderblock_store::Error]| errors.iter().map(ToString::to_string).collect();
        Self {
            dry_run,
            backups: report.backups,
            packs: report.packs,
            pack_bytes: report.pack_bytes,
            condemned_packs: report.condemned,
            repacked_packs: report.repacked,
            gathered_packs: report.gathered,
            deleted_packs: report.deleted,
            freed_bytes: report.freed_bytes,
            copied_bytes: report.copied_bytes,
            pending_packs: report.pending,
            merged_segments: report.merged_segments,
            packs_kept_for_writers: report.kept_for_writers,
            locked_packs: report.locked.packs,
            locked_until: report.locked.until.map(|until| until.to_string()),
            leftover_files: report.leftovers.files,
            leftover_bytes: report.leftovers.bytes,
            waiting: report.waiting.iter().map(SessionFacts::new).collect(),
            ended: report.ended.iter().map(SessionFacts::new).collect(),
            removed_records: report.removed_records.iter().map(|(volume, id)| format!("{volume}/{id}")).collect(),
            missing_chunks: report.missing,
            damage: texts(&report.damage),
            noted_damage: report.noted,
            doubts: texts(&report.doubts),
            seconds,
        }
    }
}

fn text(collected: &Collected) -> String {
    let mut text = String::new();
    let packs = |number| number::counted(number, "pack");
    // Writing to a string does not fail. A run that has to leave what an earlier one began looks at no backups.
    if collected.packs > 0 {
        let _ = writeln!(
            text,
            "{} {} of {}, {}:",
            number::counted(collected.backups, "backup"),
            if collected.backups == 1 { "has need" } else { "have need" },
            packs(collected.packs),
            size::show(collected.pack_bytes)
        );
    }
    if collected.dry_run {
        let _ = writeln!(
            text,
            "would delete {}, {} of them after copying what is needed, and free {}",
            packs(collected.condemned_packs),
            collected.repacked_packs,
            size::show(collected.freed_bytes)
        );
    } else {
        let _ = writeln!(
            text,
            "deleted {}, {}; wrote {} of what is needed of {} and of the index",
            packs(collected.deleted_packs),
            size::show(collected.freed_bytes),
            size::show(collected.copied_bytes),
            packs(collected.repacked_packs)
        );
    }
    if collected.leftover_files > 0 {
        let _ = writeln!(
            text,
            "{} {} that killed processes left half written, {}",
            if collected.dry_run { "would remove" } else { "removed" },
            number::counted(collected.leftover_files, "file"),
            size::show(collected.leftover_bytes)
        );
    }
    if collected.gathered_packs > 0 {
        let would = if collected.dry_run { "would copy" } else { "copied" };
        let _ = writeln!(text, "{would} {} together", number::counted(collected.gathered_packs, "small pack"));
    }
    if collected.merged_segments > 0 {
        let _ = writeln!(text, "merged {} of the index", number::counted(collected.merged_segments, "segment"));
    }
    for ended in &collected.ended {
        let _ = writeln!(text, "gave up on {}: no sign of life", ended.text());
    }
    for record in &collected.removed_records {
        let _ = writeln!(text, "removed backup {record}, which came after its session was given up on");
    }
    if collected.packs_kept_for_writers > 0 {
        let _ = writeln!(text, "kept {} of backups that run", packs(collected.packs_kept_for_writers));
    }
    if let Some(until) = &collected.locked_until {
        let _ =
            writeln!(text, "kept {} that are locked, the first of them until {until}", packs(collected.locked_packs));
    }
    if collected.noted_damage > 0 {
        let chunks = number::counted(collected.noted_damage, "damaged place");
        let _ = writeln!(
            text,
            "noted {chunks} in packs: other copies count from now on, and backups store what is damaged again"
        );
    }
    if collected.pending_packs > 0 {
        let why = match collected.waiting.is_empty() {
            true => "",
            false => ", and wait for:",
        };
        let _ = writeln!(text, "{} are left to delete{why}", packs(collected.pending_packs));
        for waiting in &collected.waiting {
            let _ = writeln!(text, "    {}", waiting.text());
        }
        text.push_str("the next 'cinderblock gc' deletes them\n");
    }
    text
}

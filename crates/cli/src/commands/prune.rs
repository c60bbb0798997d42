//! `prune`

mod report;

use anyhow::Context as _;
use cinderblock_pipeline::CancelToken;
use cinderblock_store::retention::{Candidate, Policy, Reason};
use cinderblock_store::{BackupId, Error, Repository, Timestamp, VolumeId};
use jiff::tz::TimeZone;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::arguments::retention::Prune;
use crate::commands::records::{self, Entry};
use crate::context::Context;
use crate::failure::{self, Usage};
use crate::output::{note, number};

/// A backup, and what becomes of it.
struct Decision {
    volume: VolumeId,
    id: BackupId,
    created_at: Option<Timestamp>,
    outcome: Outcome,
}

enum Outcome {
    Kept(Vec<Reason>),
    /// No rule wants it, and it is still there.
    Unwanted,
    Removed,
    Failed(Error),
}

pub fn run(context: &Context, arguments: &Prune) -> anyhow::Result<()> {
    let policy = arguments.rules.policy();
    if policy.is_empty() {
        let reason = "no rule says what to keep, so nothing was deleted: give one, such as --keep-last 7";
        return Err(Usage(reason.to_owned()).into());
    }
    let zone = time_zone()?;
    let repository = context.repository()?;
    let control = context.control();
    let pool = records::pool(context, &repository)?;
    let read =
        records::read(&pool, &repository, arguments.volume_id.as_ref(), &control.cancel, |record| record.created_at);
    let entries = read.context("nothing was deleted")?;
    let (mut decisions, doubtful) = decide(&repository, &policy, &zone, entries).context("nothing was deleted")?;
    if !arguments.dry_run {
        remove(&pool, &repository, &mut decisions, &control.cancel);
    }
    report::answer(context, &decisions, &zone, arguments.dry_run)?;

    let count = |test: fn(&Outcome) -> bool| decisions.iter().filter(|d| test(&d.outcome)).count() as u64;
    let left = count(|outcome| matches!(outcome, Outcome::Unwanted));
    if left > 0 && !arguments.dry_run {
        let removed = count(|outcome| matches!(outcome, Outcome::Removed));
        anyhow::bail!("stopped when {} of {} were deleted", removed, number::counted(removed + left, "backup"));
    }
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    if failed > 0 {
        for decision in &decisions {
            if let (Decision { volume, id, .. }, Outcome::Failed(error)) = (decision, &decision.outcome) {
                let reason = failure::words(error);
                note(&format!("cinderblock: backup {id} of {volume} could not be deleted: {reason}"));
            }
        }
        anyhow::bail!("{} could not be deleted", number::counted(failed, "backup"));
    }
    if doubtful > 0 {
        let backups = number::counted(doubtful, "backup");
        anyhow::bail!("{backups} were kept because objects cannot be read: 'cinderblock list' says what to do");
    }
    Ok(())
}

/// That of this host. One that is asked for and not known would put backups into the wrong days.
fn time_zone() -> Result<TimeZone, Usage> {
    match (TimeZone::try_system(), std::env::var_os("TZ")) {
        (Ok(zone), _) => Ok(zone),
        (Err(error), Some(name)) if !name.is_empty() => {
            Err(Usage(format!("the time zone of TZ={} is not known: {error}", name.to_string_lossy())))
        }
        // A system that has none set keeps UTC.
        (Err(_), _) => Ok(TimeZone::UTC),
    }
}

/// Decides what to keep, ordered by volume and time, and tells of what cannot be read; with the number of such backups.
fn decide(
    repository: &Repository,
    policy: &Policy,
    zone: &TimeZone,
    mut entries: Vec<Entry<Timestamp>>,
) -> anyhow::Result<(Vec<Decision>, u64)> {
    let marks = repository.marks()?;
    let now = Timestamp::now();
    let mut doubtful = 0;
    entries.sort_by_cached_key(|entry| (entry.volume.clone(), entry.record.as_ref().ok().copied(), entry.id));
    let mut decisions = Vec::with_capacity(entries.len());
    for of_volume in entries.chunk_by(|a, b| a.volume == b.volume) {
        let mut candidates = Vec::with_capacity(of_volume.len());
        for Entry { volume, id, record } in of_volume {
            let reason = record.as_ref().err().or_else(|| marks.unreadable(volume, *id));
            if let Some(reason) = reason.map(|error| failure::words(error)) {
                doubtful += 1;
                note(&format!("cinderblock: backup {id} of {volume} is kept: {reason}"));
            }
            let created_at = record.as_ref().ok().copied();
            candidates.push(Candidate {
                id: *id,
                created_at,
                protected: marks.is_protected(volume, *id, now),
                damaged: marks.get(volume, *id).is_some_and(|mark| mark.damaged.is_some()),
            });
        }
        let verdicts = policy.apply(&candidates, zone);
        decisions.extend(of_volume.iter().zip(candidates).zip(verdicts).map(|((entry, candidate), verdict)| {
            Decision {
                volume: entry.volume.clone(),
                id: candidate.id,
                created_at: candidate.created_at,
                outcome: if verdict.keeps() { Outcome::Kept(verdict.reasons) } else { Outcome::Unwanted },
            }
        }));
    }
    Ok((decisions, doubtful))
}

/// Deletes what no rule wants, until somebody asks to stop. One that fails keeps no other from it.
fn remove(pool: &ThreadPool, repository: &Repository, decisions: &mut [Decision], cancel: &CancelToken) {
    let remove = |decision: &mut Decision| {
        if !matches!(decision.outcome, Outcome::Unwanted) || cancel.is_cancelled() {
            return;
        }
        decision.outcome = match repository.delete_backup(&decision.volume, decision.id) {
            // Or somebody else has deleted it.
            Ok(()) | Err(Error::BackupNotFound { .. }) => Outcome::Removed,
            // Somebody has protected it meanwhile.
            Err(Error::Protected { .. }) => Outcome::Kept(vec![Reason::Protected]),
            Err(error) => Outcome::Failed(error),
        };
    };
    pool.install(|| decisions.par_iter_mut().for_each(remove));
}

#[cfg(test)]
mod tests;

//! The commands, as the command line runs them.

use std::sync::Arc;

use cinderblock_backend::{Backend, Memory};
use cinderblock_pipeline::{Control, ReadData, RepairOptions, VerifyOptions};
use cinderblock_store::gc::GcOptions;
use cinderblock_store::retention::{Candidate, Policy};
use cinderblock_store::{BackupId, Error, Repository, VolumeId};
use jiff::tz::TimeZone;

use super::image::Image;
use super::{Backup, ENGINE, Host, IN_THREE_DAYS, NOW, Scene, eager, whole_text};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// `list`, and `show` of each backup.
    List,
    Restore,
    Verify,
    VerifyData,
    Sessions,
    Stats,
    /// `verify --read-data=100`: of all data, as a share, which it remembers.
    VerifyShare,
    GcDryRun,
    RepairDryRun,
    RebuildIndex,
    /// An incremental backup.
    Backup,
    Gc,
    Prune,
    Delete,
    Protect,
    /// Of all backups into another repository.
    Copy,
    /// With all data, and with another repository that has all backups.
    Repair,
}

impl Command {
    pub const ALL: [Command; 17] = [
        Command::List,
        Command::Restore,
        Command::Verify,
        Command::VerifyData,
        Command::Sessions,
        Command::Stats,
        Command::VerifyShare,
        Command::GcDryRun,
        Command::RepairDryRun,
        Command::RebuildIndex,
        Command::Backup,
        Command::Gc,
        Command::Prune,
        Command::Delete,
        Command::Protect,
        Command::Copy,
        Command::Repair,
    ];

    /// Whether it changes nothing in the repository, but what it remembers of its own reading.
    pub fn only_reads(self) -> bool {
        self < Command::RebuildIndex || self == Command::Copy
    }
}

/// What commands need besides the repository.
#[derive(Clone, Debug)]
pub struct Props {
    pub backups: Vec<Backup>,
    /// The volume `one` at the time of the next backup.
    pub next: Image,
    /// A repository with copies of all backups.
    pub replica: Arc<Memory>,
    /// Backups to delete by name.
    pub doomed: Vec<(VolumeId, BackupId)>,
    /// Backups to protect.
    pub protected: Vec<(VolumeId, BackupId)>,
    /// The repository that backups are copied to; a new one where there is none given.
    pub target: Option<Arc<dyn Backend>>,
}

impl Props {
    /// Of a scene with backups A, B and C.
    pub fn of(scene: &Scene, replica: Arc<Memory>) -> Self {
        let named = |names: &[&str]| {
            let backups = names.iter().map(|name| scene.backup(name));
            backups.map(|backup| (backup.volume.clone(), backup.id)).collect()
        };
        Self {
            backups: scene.backups.clone(),
            next: scene.next_image(),
            replica,
            doomed: named(&["C", "A"]),
            protected: named(&["B", "A"]),
            target: None,
        }
    }
}

/// What a command said.
#[derive(Debug, Default)]
pub struct Answer {
    /// Why it ended early.
    pub error: Option<String>,
    /// Damage and failures that it told of.
    pub told: Vec<String>,
    /// A backup that it made.
    pub made: Option<Backup>,
    /// Where it ran.
    pub host: Option<Host>,
}

impl Answer {
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.told.is_empty()
    }

    pub fn names(&self, object: &str) -> bool {
        self.error.iter().chain(&self.told).any(|text| text.contains(object))
    }

    fn note<T>(&mut self, what: &str, result: Result<T, Error>) -> Option<T> {
        result.inspect_err(|error| self.told.push(format!("{what}: {}", whole_text(error)))).ok()
    }
}

/// Runs a command as a process on a host without an index.
pub fn run(command: Command, storage: Arc<dyn Backend>, props: &Props) -> Answer {
    let mut answer = Answer::default();
    let ahead = if command == Command::Gc { IN_THREE_DAYS } else { NOW };
    let ended = match Host::open(storage, ahead) {
        Ok(host) => {
            let ended = perform(command, &host, props, &mut answer);
            answer.host = Some(host);
            ended
        }
        Err(error) => Err(error.into()),
    };
    answer.error = ended.err().map(|error| whole_text(&error));
    answer
}

pub fn perform(
    command: Command,
    host: &Host,
    props: &Props,
    answer: &mut Answer,
) -> Result<(), cinderblock_pipeline::Error> {
    let repository = &host.repository;
    let control = Control::default();
    match command {
        Command::List => list(repository, answer)?,
        Command::Restore => {
            for backup in &props.backups {
                answer.told.extend(host.restore(backup).err().map(|error| format!("{}: {error}", backup.name)));
            }
        }
        Command::Verify | Command::VerifyData | Command::VerifyShare => {
            let read_data = match command {
                Command::Verify => ReadData::No,
                Command::VerifyData => ReadData::All,
                _ => ReadData::Share("100".parse().expect("a share")),
            };
            let options = VerifyOptions { backups: None, read_data };
            let report = ENGINE.verify(repository, &options, &control)?;
            let objects =
                report.damaged_objects.iter().map(|damaged| format!("{}: {}", damaged.object, damaged.reason));
            answer.told.extend(objects);
            answer.told.extend(report.damaged_backups.iter().map(|damaged| format!("{damaged:?}")));
            answer.told.extend(report.sample.into_iter().flat_map(|sample| sample.forgotten));
        }
        Command::Sessions => {
            let sessions = repository.sessions()?;
            answer.told.extend(sessions.iter().filter(|session| session.damaged).map(|session| session.id.to_string()));
        }
        Command::Stats => {
            let usage = repository.usage()?;
            answer.told.extend((usage.missing > 0).then(|| format!("{} missing or damaged", usage.missing)));
        }
        Command::RebuildIndex => {
            let report = repository.rebuild_index()?;
            answer.told.extend(report.damage.iter().map(|error| whole_text(error)));
            answer.told.extend(report.segments_not_written.map(|error| whole_text(&error)));
        }
        Command::Backup => {
            let record = host.back_up("one", &props.next, 100)?;
            let (volume, id) = (record.volume, record.id);
            answer.made = Some(Backup { name: "the new one", volume, id, image: props.next.clone() });
        }
        Command::Gc | Command::GcDryRun => {
            let dry_run = command == Command::GcDryRun;
            let report = host.collect_garbage_with(&GcOptions { dry_run, ..eager() })?;
            answer.told.extend(report.damage.iter().chain(&report.doubts).map(|error| whole_text(error)));
            answer.told.extend((report.missing > 0).then(|| format!("{} chunks are missing", report.missing)));
            assert!(report.doubts.is_empty() || report.deleted == 0, "something was deleted on doubt: {report:?}");
        }
        Command::Prune => prune(repository, answer)?,
        Command::Delete => {
            for (volume, id) in &props.doomed {
                match repository.delete_backup(volume, *id) {
                    Err(Error::Protected { .. }) => {}
                    deleted => drop(answer.note("deleting", deleted)),
                }
            }
        }
        Command::Protect => {
            for (volume, id) in &props.protected {
                answer.note("protecting", repository.set_mark(volume, *id, |mark| mark.protected = true));
            }
        }
        Command::Copy => {
            let target = match &props.target {
                Some(target) => Host::open(target.clone(), NOW)?,
                None => new_repository(Arc::new(Memory::new())),
            };
            copy(host, &target, answer)?;
        }
        Command::Repair | Command::RepairDryRun => {
            let dry_run = command == Command::RepairDryRun;
            let replica = Host::open(props.replica.clone(), NOW)?;
            let options = RepairOptions { read_data: true, dry_run, ..RepairOptions::default() };
            let report = ENGINE.repair(repository, Some(&replica.repository), &options, &control)?;
            answer.told.extend(report.damaged_backups.iter().map(|damaged| format!("{damaged:?}")));
            answer.told.extend(report.unreadable_notes);
        }
    }
    Ok(())
}

/// Makes a repository, and opens it.
pub fn new_repository(storage: Arc<dyn Backend>) -> Host {
    super::create(&*storage);
    Host::open(storage, NOW).expect("the repository can be opened")
}

fn list(repository: &Repository, answer: &mut Answer) -> Result<(), Error> {
    let marks = repository.marks()?;
    for (volume, id) in repository.backups(None)? {
        match repository.record(&volume, id) {
            // Its session was declared ended.
            Err(Error::BackupNotFound { .. }) => continue,
            record => answer.note("listing", record),
        };
        answer.told.extend(marks.unreadable(&volume, id).map(|error| whole_text(error)));
        answer.note("showing", repository.mark(&volume, id));
    }
    Ok(())
}

/// Keeps the newest of each volume, as `prune --keep-last 1` does.
fn prune(repository: &Repository, answer: &mut Answer) -> Result<(), Error> {
    let policy = Policy { last: "1".parse().expect("a number"), ..Policy::default() };
    let mut backups = Vec::new();
    for (volume, id) in repository.backups(None)? {
        match repository.record(&volume, id) {
            Ok(record) => backups.push((volume, Some(record.created_at), id)),
            Err(Error::BackupNotFound { .. }) => {}
            Err(error) if error.is_damage() => {
                answer.told.push(whole_text(&error));
                backups.push((volume, None, id));
            }
            Err(error) => return Err(error),
        }
    }
    backups.sort();
    let (marks, now) = (repository.marks()?, cinderblock_store::Timestamp::now());
    for of_volume in backups.chunk_by(|a, b| a.0 == b.0) {
        let candidate = |(volume, created_at, id): &(VolumeId, _, BackupId)| Candidate {
            id: *id,
            created_at: *created_at,
            protected: marks.is_protected(volume, *id, now),
            damaged: marks.get(volume, *id).is_some_and(|mark| mark.damaged.is_some()),
        };
        let unreadable = of_volume.iter().filter_map(|(volume, _, id)| marks.unreadable(volume, *id));
        answer.told.extend(unreadable.map(|error| whole_text(error)));
        let candidates: Vec<Candidate> = of_volume.iter().map(candidate).collect();
        let verdicts = policy.apply(&candidates, &TimeZone::UTC);
        for ((volume, _, id), _) in of_volume.iter().zip(verdicts).filter(|(_, verdict)| !verdict.keeps()) {
            match repository.delete_backup(volume, *id) {
                Ok(()) | Err(Error::BackupNotFound { .. } | Error::Protected { .. }) => {}
                Err(error) => answer.told.push(whole_text(&error)),
            }
        }
    }
    Ok(())
}

/// Copies all backups, oldest first; one that fails keeps no other from it.
pub fn copy(from: &Host, to: &Host, answer: &mut Answer) -> Result<(), cinderblock_pipeline::Error> {
    let mut records = Vec::new();
    for (volume, id) in from.repository.backups(None)? {
        match from.repository.record(&volume, id) {
            Err(Error::BackupNotFound { .. }) => {}
            Err(error) if !error.is_damage() => return Err(error.into()),
            record => records.extend(answer.note("copying", record)),
        }
    }
    records.sort_by_key(|record| (record.volume.clone(), record.created_at));
    for record in records {
        if let Err(error) = ENGINE.copy(&from.repository, &record, &to.repository, &Control::default()) {
            answer.told.push(format!("copying {}: {}", record.id, whole_text(&error)));
        }
    }
    Ok(())
}

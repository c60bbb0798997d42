//! Marks as they were found: which of them counts.

use std::collections::HashMap;

use super::Mark;
use crate::error::Error;
use crate::id::{BackupId, VolumeId};
use crate::repository::Repository;
use crate::time::Timestamp;

/// The marks of all backups, from [`Repository::marks`].
#[derive(Debug, Default)]
pub struct Marks {
    pub(super) found: HashMap<BackupId, Found>,
}

impl Marks {
    /// The mark of a backup, if it has one.
    pub fn get(&self, volume: &VolumeId, id: BackupId) -> Option<&Mark> {
        self.found.get(&id)?.of(volume).map(|(_, mark)| mark)
    }

    /// Why it is not known what a backup's mark says, where that is so: it has marks, and none can be read. It may be
    /// protected; [`Repository::delete_backup`] refuses it.
    pub fn unreadable(&self, volume: &VolumeId, id: BackupId) -> Option<&Error> {
        let found = self.found.get(&id)?;
        match found.of(volume) {
            Some(_) => None,
            None => found.unreadable.first().map(|(_, error)| error),
        }
    }

    /// Whether a backup must not be deleted at this time, or may be one that must not, as its mark cannot be read.
    pub fn is_protected(&self, volume: &VolumeId, id: BackupId, now: Timestamp) -> bool {
        match self.get(volume, id) {
            Some(mark) => mark.is_protected(now),
            None => self.unreadable(volume, id).is_some(),
        }
    }
}

/// The marks under one backup id. Two volumes may have a backup of one id.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Ascending by number.
    pub(super) readable: Vec<(u32, Mark)>,
    /// The highest number first.
    pub(super) unreadable: Vec<(u32, Error)>,
}

impl Found {
    /// Reads those of these numbers. None where one is gone, as another has changed the marks meanwhile.
    pub(super) fn read(repository: &Repository, id: BackupId, numbers: &mut [u32]) -> Result<Option<Self>, Error> {
        numbers.sort_unstable();
        let mut found = Self::default();
        for number in numbers.iter().copied() {
            match Mark::read(&*repository.backend, repository.seal(), id, number) {
                Ok(mark) => found.readable.push((number, mark)),
                Err(Error::Backend(error)) if error.is_not_found() => return Ok(None),
                Err(error)
                    if error.is_damage() || matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. }) =>
                {
                    found.unreadable.insert(0, (number, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(found))
    }

    /// A volume's mark with its number.
    fn of(&self, volume: &VolumeId) -> Option<(u32, &Mark)> {
        // What a newer program wrote after it may say otherwise.
        let newer = self.unreadable.iter().find(|(_, error)| !error.is_damage()).map(|(number, _)| *number);
        let (number, mark) = self.readable.iter().rfind(|(_, mark)| mark.volume == *volume)?;
        newer.is_none_or(|newer| newer < *number).then_some((*number, mark))
    }

    /// The same, or why it is not known.
    pub(super) fn into_mark(mut self, volume: &VolumeId) -> Result<Option<Mark>, Error> {
        if let Some((_, mark)) = self.of(volume) {
            return Ok(Some(mark.clone()));
        }
        // A newer program's before a damaged one.
        self.unreadable.sort_by_key(|(_, error)| error.is_damage());
        self.unreadable.into_iter().next().map_or(Ok(None), |(_, error)| Err(error))
    }

    pub(super) fn highest(&self) -> u32 {
        let readable = self.readable.last().map_or(0, |(number, _)| *number);
        self.unreadable.first().map_or(readable, |(number, _)| readable.max(*number))
    }

    /// Numbers of what is a volume's, or damaged and so nobody's.
    pub(super) fn numbers_of<'a>(&'a self, volume: &'a VolumeId) -> impl Iterator<Item = u32> + 'a {
        let own = self.readable.iter().filter(move |(_, mark)| mark.volume == *volume).map(|(number, _)| *number);
        own.chain(self.unreadable.iter().filter(|(_, error)| error.is_damage()).map(|(number, _)| *number))
    }
}

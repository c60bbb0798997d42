//! [`Recording`]: counts and logs what is asked of a backend.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decorator::{Around, decorate};
use crate::{Backend, Error, Kind, Request};

/// Counts the operations on another backend, and keeps a log of them if asked to: for statistics, and for tests of how much
/// is read and in which order things are written.
///
/// ```
/// use cinderblock_backend::{Backend, Kind, Memory, ObjectName, Recording};
///
/// let backend = Recording::new(Memory::new());
/// let name = ObjectName::new("packs/ab/abcdef")?;
/// backend.put(&name, &[b"12345"])?;
/// backend.read_into(&name, 1, &mut [0; 3])?;
/// assert_eq!(backend.tally(Kind::Put).bytes, 5);
/// assert_eq!(backend.tally(Kind::ReadInto).calls, 1);
/// assert_eq!(backend.tally(Kind::ReadInto).bytes, 3);
/// # Ok::<(), cinderblock_backend::Error>(())
/// ```
#[derive(Debug)]
pub struct Recording<B> {
    inner: B,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    /// One for each of [`Kind::ALL`], at the kind's discriminant.
    tallies: [Tally; Kind::ALL.len()],
    log: Option<Vec<LogEntry>>,
    /// By kind, operations that have begun and not ended, and the most that there were at once.
    under_way: [(u64, u64); Kind::ALL.len()],
}

/// How often something was asked for, and how much it moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations, failed ones among them.
    pub calls: u64,
    /// Operations that failed.
    pub failures: u64,
    /// Bytes that successful operations wrote or read. A streamed object's bytes are those of [`Kind::Write`].
    pub bytes: u64,
}

/// An operation that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// What was asked for.
    pub kind: Kind,
    /// The object's name; the prefix of a [`Kind::List`] or [`Kind::ListForeign`].
    pub name: String,
    /// Where a [`Kind::ReadInto`] began, in bytes from the object's start; 0 for the others.
    pub offset: u64,
    /// The bytes that it wrote or read; 0 if it failed.
    pub bytes: u64,
    /// Whether it succeeded.
    pub succeeded: bool,
}

impl<B: Backend> Recording<B> {
    /// Counts what is asked of `inner`.
    pub fn new(inner: B) -> Recording<B> {
        let record = Record { tallies: Default::default(), log: None, under_way: Default::default() };
        Recording { inner, record: Mutex::new(record) }
    }

    /// Counts, and keeps a log, too: about 100 bytes of memory for each operation until
    /// [`take_log`](Recording::take_log).
    pub fn with_log(inner: B) -> Recording<B> {
        let record = Record { tallies: Default::default(), log: Some(Vec::new()), under_way: Default::default() };
        Recording { inner, record: Mutex::new(record) }
    }

    /// What was counted for one kind since the beginning or the last [`reset`](Recording::reset).
    pub fn tally(&self, kind: Kind) -> Tally {
        self.record().tallies.get(kind as usize).copied().unwrap_or_default()
    }

    /// All kinds that were asked for, with what was counted.
    pub fn tallies(&self) -> Vec<(Kind, Tally)> {
        let record = self.record();
        Kind::ALL.into_iter().zip(record.tallies).filter(|(_, tally)| tally.calls > 0).collect()
    }

    /// The most operations of one kind that were under way at the same time since the beginning or the last [`reset`](Recording::reset).
    pub fn most_at_once(&self, kind: Kind) -> u64 {
        self.record().under_way.get(kind as usize).map_or(0, |(_, most)| *most)
    }

    /// Takes the log out: the operations since the last time, in the order in which they ended. Empty without
    /// [`with_log`](Recording::with_log).
    pub fn take_log(&self) -> Vec<LogEntry> {
        self.record().log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Sets all counts to zero and empties the log.
    pub fn reset(&self) {
        let mut record = self.record();
        record.tallies = Default::default();
        record.under_way.iter_mut().for_each(|(now, most)| *most = *now);
        record.log.iter_mut().for_each(Vec::clear);
    }

    /// The backend that does the work.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Counts stay meaningful whatever a panicking thread was about to add.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> Around for Recording<B> {
    fn around<T>(
        &self,
        request: Request<'_>,
        perform: impl FnOnce() -> Result<T, Error>,
        amount: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        if let Some((now, most)) = self.record().under_way.get_mut(request.kind as usize) {
            *now += 1;
            *most = (*most).max(*now);
        }
        let result = perform();
        let bytes = match &result {
            Ok(value) if request.kind != Kind::List => amount(value),
            _ => 0,
        };
        let succeeded = result.is_ok();
        let mut record = self.record();
        if let Some((now, _)) = record.under_way.get_mut(request.kind as usize) {
            *now -= 1;
        }
        if let Some(tally) = record.tallies.get_mut(request.kind as usize) {
            tally.calls += 1;
            tally.failures += u64::from(!succeeded);
            tally.bytes += bytes;
        }
        if let Some(log) = &mut record.log {
            let Request { kind, name, offset, .. } = request;
            log.push(LogEntry { kind, name: name.to_owned(), offset, bytes, succeeded });
        }
        result
    }
}

decorate!(Recording);

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Memory, ObjectName};

    #[test]
    fn every_kind_is_counted_once_and_logged_in_order() {
        let backend = Recording::with_log(Memory::new());
        let name = ObjectName::new("a/b").unwrap();
        let mut writer = backend.create(&name).unwrap();
        writer.write_all(b"1234").unwrap();
        writer.finish().unwrap();
        backend.put(&name, &[b"x"]).unwrap_err();
        backend.get(&name, 4).unwrap();
        backend.read_into(&name, 1, &mut [0; 2]).unwrap();
        backend.get_tail(&name, 100).unwrap();
        backend.size(&name).unwrap();
        backend.list("a/", &mut |_| Ok(())).unwrap();
        backend.list_foreign("a/", &mut |_| Ok(())).unwrap();
        backend.delete(&name).unwrap();

        let log = backend.take_log();
        assert_eq!(log.iter().map(|entry| entry.kind).collect::<Vec<_>>(), Kind::ALL);
        assert_eq!(log.iter().map(|entry| entry.bytes).collect::<Vec<_>>(), [0, 4, 0, 0, 4, 2, 4, 0, 0, 0, 0]);
        assert_eq!(log.iter().filter(|entry| !entry.succeeded).count(), 1);
        assert_eq!((log[5].offset, log[8].name.as_str()), (1, "a/"));
        assert!(Kind::ALL.iter().all(|kind| backend.tally(*kind).calls == 1));
        assert_eq!(backend.tally(Kind::Put).failures, 1);
        assert!(backend.take_log().is_empty());

        backend.reset();
        assert!(backend.tallies().is_empty());
    }
}

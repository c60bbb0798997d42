//! [`Sorter`]: puts more entries in order than memory holds.
//!
//! What fills the memory is sorted and written to a file, a *run*. In the end all runs are read together, each through a part of
//! that memory, so that a billion entries take no more than a million.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::index::entry::Entry;

/// Least bytes that a run is read in.
const MIN_READ_BYTES: usize = 4 << 10;

/// Most bytes that a run is read in: more makes nothing faster.
const MAX_READ_BYTES: usize = 256 << 10;

/// Takes entries in any order. Files are made in `folder`, which whoever made it removes.
#[derive(Debug)]
pub(super) struct Sorter {
    folder: PathBuf,
    capacity: usize,
    entries: Vec<Entry>,
    runs: Vec<Run>,
}

/// Entries in order in a file.
#[derive(Debug)]
struct Run {
    path: PathBuf,
    file: File,
    entries: u64,
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Cache { path: path.to_owned(), source }
}

impl Sorter {
    /// With so much memory for entries.
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> Self {
        let capacity = (memory_bytes / Entry::BYTES).max(2);
        Self { folder: folder.to_owned(), capacity, entries: Vec::new(), runs: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: Entry) -> Result<(), Error> {
        if self.entries.len() >= self.capacity {
            self.spill()?;
        }
        self.entries.push(entry);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), Error> {
        self.entries.sort_unstable();
        let path = self.folder.join(format!("{}.run", self.runs.len()));
        let run = Run::write(path, &self.entries)?;
        self.runs.push(run);
        self.entries.clear();
        Ok(())
    }

    /// All that was taken. They are in files where they did not fit into memory once.
    pub(super) fn finish(mut self) -> Result<Sorted, Error> {
        if !self.runs.is_empty() {
            self.spill()?;
            self.entries = Vec::new();
        }
        self.entries.sort_unstable();
        Ok(Sorted { memory_bytes: self.capacity * Entry::BYTES, entries: self.entries, runs: self.runs })
    }
}

impl Run {
    fn write(path: PathBuf, entries: &[Entry]) -> Result<Self, Error> {
        let made = File::options().read(true).write(true).create_new(true).open(&path);
        let mut file = made.map_err(|source| failed(&path, source))?;
        let mut bytes = Vec::with_capacity(MAX_READ_BYTES);
        for some in entries.chunks(MAX_READ_BYTES / Entry::BYTES) {
            bytes.clear();
            some.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_bytes()));
            file.write_all(&bytes).map_err(|source| failed(&path, source))?;
        }
        Ok(Self { path, file, entries: entries.len() as u64 })
    }

    fn get(&self, at: u64) -> Result<Entry, Error> {
        let mut bytes = [0; Entry::BYTES];
        let read = self.file.read_exact_at(&mut bytes, at * Entry::BYTES as u64);
        read.map_err(|source| failed(&self.path, source))?;
        Ok(Entry::from_bytes(bytes))
    }

    /// How many entries are less.
    fn below(&self, bound: Entry) -> Result<u64, Error> {
        let (mut from, mut to) = (0, self.entries);
        while from < to {
            let middle = from.midpoint(to);
            if self.get(middle)? < bound {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }
}

/// Entries in order; those of one key one after the other.
#[derive(Debug)]
pub(super) struct Sorted {
    memory_bytes: usize,
    entries: Vec<Entry>,
    runs: Vec<Run>,
}

impl Sorted {
    /// How many there are.
    pub(super) fn entries(&self) -> u64 {
        self.entries.len() as u64 + self.runs.iter().map(|run| run.entries).sum::<u64>()
    }

    /// The entries of one of so many equal parts of all keys. All parts together take the sorter's memory.
    pub(super) fn part(&self, part: usize, parts: usize) -> Result<Part<'_>, Error> {
        let first = Entry::first_of(part, parts);
        let end = (part + 1 < parts).then(|| Entry::first_of(part + 1, parts));
        let below = |bound: Entry| self.entries.partition_point(|entry| *entry < bound);
        let to = end.map_or(self.entries.len(), below);
        let entries = self.entries.get(below(first)..to).unwrap_or_default();
        let shares = (self.runs.len() * parts).max(1);
        let read_bytes = (self.memory_bytes / shares).clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        let (mut readers, mut heads) = (Vec::new(), BinaryHeap::new());
        for run in &self.runs {
            let to = end.map_or(Ok(run.entries), |end| run.below(end))?;
            let mut reader = Reader { run, next: run.below(first)?, to, read_bytes, bytes: Vec::new(), at: 0 };
            if let Some(entry) = reader.next()? {
                heads.push(Reverse((entry, readers.len())));
            }
            readers.push(reader);
        }
        Ok(Part { entries: entries.iter(), readers, heads })
    }
}

/// Reads a range of a run.
#[derive(Debug)]
struct Reader<'a> {
    run: &'a Run,
    next: u64,
    to: u64,
    read_bytes: usize,
    bytes: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.at == self.bytes.len() {
            let count = (self.to - self.next).min((self.read_bytes / Entry::BYTES) as u64);
            if count == 0 {
                return Ok(None);
            }
            self.bytes.resize(count as usize * Entry::BYTES, 0);
            let read = self.run.file.read_exact_at(&mut self.bytes, self.next * Entry::BYTES as u64);
            read.map_err(|source| failed(&self.run.path, source))?;
            (self.next, self.at) = (self.next + count, 0);
        }
        let entry = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at += Entry::BYTES;
        Ok(entry.copied().map(Entry::from_bytes))
    }
}

/// Hands out the entries of a part of all keys, in order.
#[derive(Debug)]
pub(super) struct Part<'a> {
    entries: std::slice::Iter<'a, Entry>,
    readers: Vec<Reader<'a>>,
    /// The next entry of each reader that has one.
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl Part<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(self.entries.next().copied()) };
        let Reverse((entry, number)) = *head;
        match self.readers.get_mut(number).map_or(Ok(None), Reader::next)? {
            Some(next) => *head = Reverse((next, number)),
            None => drop(PeekMut::pop(head)),
        }
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ChunkId;
    use proptest::prelude::*;

    fn entries_of(sorted: &Sorted, parts: usize) -> Result<Vec<Entry>, Error> {
        let mut found = Vec::new();
        for part in 0..parts {
            let mut part = sorted.part(part, parts)?;
            while let Some(entry) = part.next()? {
                found.push(entry);
            }
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_in_order(
            firsts in proptest::collection::vec(any::<[u8; 2]>(), 0..400), memory in 0_usize..8000, parts in 1_usize..5,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(folder.path(), memory);
            let id = |[a, b]: [u8; 2]| ChunkId::from_bytes(std::array::from_fn(|at| [a, b][usize::from(at > 0)]));
            let mut wanted: Vec<_> = firsts.iter().zip(0..).map(|(first, n)| Entry::new(&id(*first), n, 3)).collect();
            wanted.iter().for_each(|entry| sorter.push(*entry).unwrap());
            wanted.sort();
            prop_assert_eq!(entries_of(&sorter.finish().unwrap(), parts).unwrap(), wanted);
        }
    }

    #[test]
    fn runs_that_are_read_in_several_pieces_are_whole() -> Result<(), Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), 16 << 10);
        let id = |n: u32| ChunkId::of(&n.to_le_bytes());
        let mut wanted: Vec<_> = (0..50_000).map(|n| Entry::new(&id(n), n, 0)).collect();
        wanted.iter().try_for_each(|entry| sorter.push(*entry))?;
        wanted.sort();
        let sorted = sorter.finish()?;
        assert_eq!(sorted.runs.len(), 49);
        assert_eq!(entries_of(&sorted, 3)?, wanted);
        Ok(())
    }

    #[test]
    fn a_run_that_was_cut_is_an_error() -> Result<(), Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), 160);
        (0..100).try_for_each(|n| sorter.push(Entry::new(&ChunkId::of(&[n]), 0, 0)))?;
        let sorted = sorter.finish()?;
        sorted.runs[3].file.set_len(70).unwrap();
        assert!(matches!(entries_of(&sorted, 1), Err(Error::Cache { path, .. }) if path.ends_with("3.run")));
        Ok(())
    }
}

//! Copies between repositories whose ids differ, as those of encrypted ones do: the volume is read from the one, every chunk checked, and
//! backed up to the other.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use cinderblock_store::{Chunking, Record, Repository};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::CopySummary;
use crate::backup::{BackupOptions, Chunker, Parent};
use crate::engine::{Control, Engine};
use crate::error::Error;
use crate::source::{Part, Source};
use crate::volume::BackupVolume;

/// Bytes of the volume that are read at once, some of them at a time: 4 MiB.
const PART_BYTES: u64 = 4 << 20;

impl Engine {
    /// Backs the volume of a backup up to another repository, under the same id and with the same facts.
    pub(super) fn copy_renamed(
        &self,
        (from, record): (&Repository, &Record),
        to: &Repository,
        control: &Control,
    ) -> Result<CopySummary, Error> {
        let mut options = BackupOptions::new(record.volume.clone());
        options.id = Some(record.id);
        options.name = record.name.clone();
        options.description = record.description.clone();
        options.created_at = Some(record.created_at);
        options.parent = Parent::None;
        options.compression = record.compression.parse().unwrap_or_default();
        options.attributes = record.attributes.clone();
        options.chunker = match record.chunking {
            Chunking::Fixed => Chunker::Fixed,
            Chunking::Content { .. } => Chunker::FastCdc,
        };
        // The backup has the rest.
        let volume = BackupVolume::new(from, record, self.settings().memory_bytes / 8)?;
        let (sender, sent) = bounded(1);
        let parts = Parts { sent, ended: false };
        let failed: Mutex<Option<Error>> = Mutex::default();
        let name = format!("backup {}", record.id);
        let copied = std::thread::scope(|threads| {
            let (volume, failed) = (&volume, &failed);
            threads.spawn(move || {
                if let Err(error) = read(volume, control, &sender) {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    let _ = sender.send(Err(io::Error::other("the backup cannot be read")));
                }
            });
            let source = match options.chunker {
                Chunker::Fixed => Source::overlay(None, volume.size(), Box::new(parts), name),
                Chunker::FastCdc => {
                    let open = Part { offset: 0, bytes: Vec::new() };
                    let stream = Stream { parts, open, at: 0, end: volume.size() };
                    Source::stream(Box::new(stream), name)
                }
            };
            self.backup(to, source, &options, control)
        });
        let copied = match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Error::Unrestorable { offset, length, source, .. }) => {
                return Err(Error::Uncopyable { offset, length, source });
            }
            Some(error) if copied.is_err() => return Err(error),
            _ => copied?,
        };
        let statistics = copied.statistics;
        Ok(CopySummary {
            already_there: false,
            volume_bytes: copied.volume_bytes,
            chunks: statistics.chunks,
            new_chunks: statistics.new_chunks,
            new_bytes: statistics.new_bytes,
            moved_frames: 0,
            made_frames: 0,
            read_bytes: statistics.read_bytes,
            stored_bytes: statistics.stored_bytes,
            milliseconds: statistics.milliseconds,
        })
    }
}

/// Hands over all that is not zero, and then says that this was all. It ends early where nobody takes it any more.
fn read(volume: &BackupVolume<'_>, control: &Control, parts: &Sender<Sent>) -> Result<(), Error> {
    let mut at = 0;
    while let Some(data) = volume.next_data(at, volume.size())? {
        at = data.offset;
        while at < data.end() {
            control.cancel.check(false)?;
            let mut bytes = vec![0; (data.end() - at).min(PART_BYTES - at % PART_BYTES) as usize];
            volume.read_at(at, &mut bytes)?;
            let (offset, length) = (at, bytes.len() as u64);
            if parts.send(Ok(Some(Part { offset, bytes }))).is_err() {
                return Ok(());
            }
            at += length;
        }
    }
    let _ = parts.send(Ok(None));
    Ok(())
}

/// A part; nothing where that was all.
type Sent = io::Result<Option<Part>>;

/// The parts that are read. A reader that ends without a word has not read all: the rest is not taken for zeros.
struct Parts {
    sent: Receiver<Sent>,
    ended: bool,
}

impl Iterator for Parts {
    type Item = io::Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.sent.recv().unwrap_or_else(|_| Err(io::Error::other("the backup was not read to its end")));
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

/// The parts one after the other, with zeros between them and behind them.
struct Stream {
    parts: Parts,
    /// The part that is being read, or an empty one at the end of the volume.
    open: Part,
    at: u64,
    end: u64,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.open.offset + self.open.bytes.len() as u64 && self.at < self.end {
            self.open = self.parts.next().transpose()?.unwrap_or(Part { offset: self.end, bytes: Vec::new() });
        }
        let length = match self.open.offset.checked_sub(self.at) {
            Some(zeros) if zeros > 0 => {
                let length = buffer.len().min(usize::try_from(zeros).unwrap_or(usize::MAX));
                buffer.get_mut(..length).unwrap_or_default().fill(0);
                length
            }
            _ => {
                let from = usize::try_from(self.at - self.open.offset).unwrap_or(usize::MAX);
                let mut rest = self.open.bytes.get(from..).unwrap_or_default();
                rest.read(buffer)?
            }
        };
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(sent: Vec<Sent>, end: u64) -> Stream {
        let (sender, receiver) = bounded(sent.len());
        sent.into_iter().for_each(|part| drop(sender.send(part)));
        let parts = Parts { sent: receiver, ended: false };
        Stream { parts, open: Part { offset: 0, bytes: Vec::new() }, at: 0, end }
    }

    fn part(offset: u64, bytes: &[u8]) -> Sent {
        Ok(Some(Part { offset, bytes: bytes.to_vec() }))
    }

    #[test]
    fn what_no_part_covers_is_zero() -> io::Result<()> {
        for (parts, end, expected) in [
            (vec![part(2, b"ab"), part(4, b"c"), part(6, b"d"), Ok(None)], 9, &b"\0\0abc\0d\0\0"[..]),
            (vec![part(0, b"ab"), Ok(None)], 2, b"ab"),
            (vec![Ok(None)], 3, b"\0\0\0"),
            (vec![Ok(None)], 0, b""),
        ] {
            let mut bytes = Vec::new();
            stream(parts, end).read_to_end(&mut bytes)?;
            assert_eq!(bytes, expected);
        }
        Ok(())
    }

    /// Else a copy would be made of which the end is zero.
    #[test]
    fn a_reader_that_ends_without_a_word_has_not_read_all() {
        assert!(stream(vec![part(0, b"ab")], 9).read_to_end(&mut Vec::new()).is_err());
        assert!(stream(vec![Err(io::Error::other("no"))], 9).read_to_end(&mut Vec::new()).is_err());
    }
}

//! Restoring in order, to a writer: windows of the volume are fetched in parallel and written one after the other.

use std::collections::VecDeque;
use std::io::Write;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::file::add;
use super::plan::{Job, Wanted};
use super::run::{Failure, Run};
use crate::buffer::JobMemory;
use crate::engine::Progress;
use crate::lanes::Lanes;

/// Chunks that are located and grouped together at most.
const WINDOW_CHUNKS: usize = 16_384;

/// Zeros that are written at once: 256 KiB.
const ZEROS: usize = 256 << 10;

/// What one job fetched: its bytes, and where parts of them belong in the volume.
#[derive(Debug)]
struct Fetched {
    bytes: JobMemory,
    parts: Vec<(u64, usize)>,
}

/// A part of the volume that is being fetched.
#[derive(Debug)]
struct Window {
    /// Everything before has been written, or belongs to the window before.
    end: u64,
    jobs: usize,
    fetched: Receiver<Fetched>,
}

/// Writes in order, and fills gaps with zeros.
struct Output<'w> {
    writer: &'w mut dyn Write,
    at: u64,
    zeros: Vec<u8>,
}

impl Run<'_> {
    /// Writes the whole volume; windows of `memory_bytes` together are in memory at once: two, or, where several requests at once are wanted, four, so that
    /// the storage has something to do while one of them is written.
    pub(super) fn stream(&self, writer: &mut dyn Write, memory_bytes: usize) -> Result<(), Failure> {
        let ahead = if self.in_flight > 1 { 3 } else { 1 };
        self.goes_on()?;
        self.warm();
        let mut output = Output { writer, at: 0, zeros: vec![0; ZEROS] };
        Lanes::with(self.pool, self.in_flight, |lanes| {
            let result = self.stream_windows(lanes, &mut output, memory_bytes / (ahead + 1), ahead);
            result.unwrap_or_else(|failure| self.fail(failure));
        });
        Ok(())
    }

    fn stream_windows<'t>(
        &'t self,
        lanes: &Lanes<'_, 't>,
        output: &mut Output<'_>,
        window_bytes: usize,
        ahead: usize,
    ) -> Result<(), Failure> {
        let mut before: VecDeque<Window> = VecDeque::new();
        let (mut wanted, mut bytes): (Vec<Wanted>, usize) = (Vec::new(), 0);
        self.each_leaf(|leaf| {
            for piece in &leaf.pieces {
                match self.finder.wanted(piece)? {
                    None => add(&self.counters.zero, piece.length),
                    Some(chunk) => {
                        bytes += chunk.length as usize;
                        wanted.push(chunk);
                    }
                }
                if bytes >= window_bytes || wanted.len() >= WINDOW_CHUNKS {
                    bytes = 0;
                    before.push_back(self.start_window(lanes, piece.offset + piece.length, &mut wanted)?);
                    if before.len() > ahead
                        && let Some(window) = before.pop_front()
                    {
                        self.write_window(window, output)?;
                    }
                }
            }
            Ok(())
        })?;
        if !self.goes_on()? {
            return Ok(());
        }
        let last = self.start_window(lanes, self.record.volume_bytes, &mut wanted)?;
        for window in before.into_iter().chain([last]) {
            self.write_window(window, output)?;
        }
        if self.goes_on()? {
            output.writer.flush().map_err(|source| output.failed(source))?;
        }
        Ok(())
    }

    fn start_window<'t>(
        &'t self,
        lanes: &Lanes<'_, 't>,
        end: u64,
        wanted: &mut Vec<Wanted>,
    ) -> Result<Window, Failure> {
        let wanted = std::mem::take(wanted);
        let (sender, fetched) = unbounded();
        let mut window = Window { end, jobs: 0, fetched };
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (jobs, planned) = self.plan(rest)?;
            rest = rest.get(planned..).unwrap_or_default();
            for job in jobs {
                if !self.goes_on()? {
                    return Ok(window);
                }
                window.jobs += 1;
                self.start_job(lanes, job, sender.clone());
            }
        }
        Ok(window)
    }

    fn start_job<'t>(&'t self, lanes: &Lanes<'_, 't>, job: Job, sender: Sender<Fetched>) {
        let permit = self.budget.permit(job.memory_bytes());
        lanes.start(move || {
            let _permit = permit;
            let bytes = JobMemory::with_capacity(job.wanted_bytes(), self.in_flight);
            let mut result = Fetched { bytes, parts: Vec::new() };
            let fetched = self.goes_on().and_then(|go| match go {
                true => self.fetch(&job, &mut |offset, bytes| {
                    result.bytes.append(bytes);
                    result.parts.push((offset, bytes.len()));
                    Ok(())
                }),
                false => Ok(()),
            });
            match fetched {
                // Without a receiver, the restore has failed elsewhere.
                Ok(()) => drop(sender.send(result)),
                Err(failure) => self.fail(failure),
            }
        });
    }

    /// Waits for a window and writes it.
    fn write_window(&self, window: Window, output: &mut Output<'_>) -> Result<(), Failure> {
        let fetched: Vec<Fetched> = window.fetched.iter().collect();
        // A job that failed sent nothing, one that was stopped only a part.
        if !self.goes_on()? || fetched.len() != window.jobs {
            return Ok(());
        }
        let mut parts = Vec::new();
        for result in &fetched {
            let mut rest = &result.bytes[..];
            for (offset, length) in &result.parts {
                let Some((bytes, after)) = rest.split_at_checked(*length) else { break };
                parts.push((*offset, bytes));
                rest = after;
            }
        }
        parts.sort_unstable_by_key(|(offset, _)| *offset);
        for (offset, bytes) in parts {
            self.write_zeros(offset, output)?;
            self.write_part(bytes, output)?;
        }
        self.write_zeros(window.end, output)
    }

    fn write_zeros(&self, end: u64, output: &mut Output<'_>) -> Result<(), Failure> {
        let zeros = std::mem::take(&mut output.zeros);
        while output.at < end {
            let part = zeros.get(..(end - output.at) as usize).unwrap_or(&zeros);
            self.write_part(part, output)?;
        }
        output.zeros = zeros;
        Ok(())
    }

    fn write_part(&self, bytes: &[u8], output: &mut Output<'_>) -> Result<(), Failure> {
        if self.control.cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        output.writer.write_all(bytes).map_err(|source| output.failed(source))?;
        let written = bytes.len() as u64;
        output.at += written;
        add(&self.counters.written, written);
        Progress::add(&self.progress().stored_bytes, written);
        Progress::add(&self.progress().done_bytes, written);
        Ok(())
    }
}

impl Output<'_> {
    fn failed(&self, source: std::io::Error) -> Failure {
        Failure::Target { operation: "writing", offset: self.at, source }
    }
}

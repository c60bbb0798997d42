//! Standard input and output as a volume's bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use cinderblock_pipeline::{CancelToken, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long standard input may keep a request to stop waiting.
const PATIENCE: Duration = Duration::from_millis(100);

/// Standard input, unbuffered. A read that waits for data ends with an error once it is asked to stop.
#[derive(Debug)]
pub struct Input {
    file: File,
    cancel: CancelToken,
}

impl Input {
    pub fn new(cancel: CancelToken) -> io::Result<Self> {
        Ok(Self { file: io::stdin().as_fd().try_clone_to_owned()?.into(), cancel })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other(Error::Cancelled { partly_written: false }));
            }
            let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut polled, Some(&patience)) {
                Ok(0) | Err(Errno::INTR) => {}
                // End of file and errors make it readable as well: the read tells which.
                Ok(_) => return self.file.read(buffer),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Standard output, unbuffered. It remembers whether its reader went away.
#[derive(Debug)]
pub struct Output {
    file: File,
    reader_gone: bool,
}

impl Output {
    pub fn new() -> io::Result<Self> {
        Ok(Self { file: io::stdout().as_fd().try_clone_to_owned()?.into(), reader_gone: false })
    }

    pub fn reader_gone(&self) -> bool {
        self.reader_gone
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.reader_gone |= matches!(&written, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

//! [`Crew`]: what workers of one operation share to stop together, and [`Tokens`], which bound how many work at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cinderblock_pipeline::CancelToken;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::Error;

/// The first failure of an operation stops all who work on it; so does a request to stop.
#[derive(Debug)]
pub(crate) struct Crew {
    cancel: CancelToken,
    failure: Mutex<Option<Error>>,
    stopped: AtomicBool,
}

impl Crew {
    pub(crate) fn new(cancel: CancelToken) -> Self {
        Self { cancel, failure: Mutex::default(), stopped: AtomicBool::new(false) }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// That somebody asked to stop, or that another worker has failed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() || self.stopped.load(Ordering::Relaxed) {
            return Err(cinderblock_pipeline::Error::Cancelled { partly_written: false }.into());
        }
        Ok(())
    }

    /// Remembers the first failure, and lets all others stop.
    pub(crate) fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.stop();
    }

    /// Lets all stop.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// How it went, when nobody works any more.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) fn outcome(&self) -> Result<(), Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// A number of tokens; who wants to begin something takes one.
#[derive(Debug)]
pub(crate) struct Tokens {
    back: Sender<()>,
    free: Receiver<()>,
}

impl Tokens {
    pub(crate) fn new(count: u64) -> Self {
        let (back, free) = bounded(usize::try_from(count).unwrap_or(usize::MAX).max(1));
        while back.try_send(()).is_ok() {}
        Self { back, free }
    }

    /// Waits for a token. It goes back when it is dropped, also by a worker that panics.
    pub(crate) fn take(&self) -> Token {
        // The sender lives as long as this: a token comes.
        let _ = self.free.recv();
        Token(self.back.clone())
    }
}

/// Leave to work.
#[derive(Debug)]
pub(crate) struct Token(Sender<()>);

impl Drop for Token {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

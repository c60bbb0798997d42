//! SIGINT and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use cinderblock_pipeline::CancelToken;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Signals that ask to stop, each with whether it came.
///
/// Until [`Signals::stop_cleanly`] is called either ends the process at once, with 128 and its number as the exit status.
#[derive(Debug)]
pub struct Signals {
    at_once: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    came: [(i32, Arc<AtomicBool>); 2],
}

impl Signals {
    pub fn install() -> anyhow::Result<Self> {
        let signals = Self {
            at_once: Arc::new(AtomicBool::new(true)),
            stop: Arc::default(),
            came: [(SIGINT, Arc::default()), (SIGTERM, Arc::default())],
        };
        for (signal, came) in &signals.came {
            let install = || {
                // Actions run in the order of their registration: the second signal of a kind finds `came` set.
                flag::register_conditional_shutdown(*signal, 128 + signal, Arc::clone(&signals.at_once))?;
                flag::register_conditional_shutdown(*signal, 128 + signal, Arc::clone(came))?;
                flag::register(*signal, Arc::clone(came))?;
                flag::register(*signal, Arc::clone(&signals.stop))
            };
            install().with_context(|| format!("signal {signal} could not be handled"))?;
        }
        Ok(signals)
    }

    /// From now on the first signal cancels the token, and a second of the same kind ends the process at once.
    pub fn stop_cleanly(&self) -> CancelToken {
        self.at_once.store(false, Ordering::Relaxed);
        CancelToken::from_flag(Arc::clone(&self.stop))
    }

    /// The signal that came, if one did.
    pub fn received(&self) -> Option<i32> {
        self.came.iter().find(|(_, came)| came.load(Ordering::Relaxed)).map(|(signal, _)| *signal)
    }
}

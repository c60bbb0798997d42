//! A progress bar on a terminal.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cinderblock_pipeline::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{number, printable, size};

const INTERVAL: Duration = Duration::from_millis(100);

/// Draws in a second: a little more than there are, so that none is left out.
const MAX_DRAWS: u8 = 50;

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Backup,
    /// Writing a backup of Cinder's, which has no chunks that could be new.
    CinderBackup,
    Restore,
    Verify,
}

/// A bar that follows an operation until it is dropped; then it is wiped off.
#[derive(Debug)]
pub struct Display {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// None where standard error is no terminal.
    pub fn start(progress: Arc<Progress>, phase: Phase) -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let target = ProgressDrawTarget::stderr_with_hz(MAX_DRAWS);
            let bar = ProgressBar::with_draw_target(None, target);
            let started = Instant::now();
            let mut total_known = None;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let now = Reading::of(&progress);
                if total_known != Some(now.total > 0) {
                    total_known = Some(now.total > 0);
                    bar.set_style(style(now.total > 0));
                }
                bar.set_message(now.text(phase, started.elapsed()));
                bar.update(|state| {
                    state.set_pos(now.done);
                    if now.total > 0 {
                        state.set_len(now.total);
                    }
                });
            }
            bar.finish_and_clear();
        };
        // Without a thread there is no bar, and the operation goes on.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(run).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A line that says what is going on until it is dropped; then it is wiped off.
#[derive(Debug)]
pub struct Spinner(ProgressBar);

impl Spinner {
    /// None where standard error is no terminal.
    pub fn start() -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(MAX_DRAWS));
        bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").ok()?);
        bar.enable_steady_tick(INTERVAL);
        Some(Self(bar))
    }

    pub fn show(&self, text: &str) {
        self.0.set_message(printable(text));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The bar is short, so that all of the text fits into 80 columns.
fn template(total_known: bool) -> &'static str {
    if total_known { "[{bar:12}] {percent:>3}% {wide_msg}" } else { "{spinner} {wide_msg}" }
}

fn style(total_known: bool) -> ProgressStyle {
    let style = ProgressStyle::with_template(template(total_known));
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    total: u64,
    done: u64,
    new: u64,
    stored: u64,
}

impl Reading {
    fn of(progress: &Progress) -> Self {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            total: value(&progress.total_bytes),
            done: value(&progress.done_bytes),
            new: value(&progress.new_bytes),
            stored: value(&progress.stored_bytes),
        }
    }

    fn text(&self, phase: Phase, elapsed: Duration) -> String {
        let mut text = match self.total {
            0 => size::short(self.done),
            // The percentage stands before it.
            total => format!("of {}", size::short(total)),
        };
        let mut add = |part: String| {
            text.push_str(", ");
            text.push_str(&part);
        };
        if let Some(rate) = size::short_rate(self.done, elapsed) {
            add(rate);
        }
        if let Some(left) = self.time_left(elapsed) {
            add(format!("{} left", number::coarse_duration(left)));
        }
        match phase {
            Phase::Backup => {
                add(format!("{} new", size::short(self.new)));
                add(format!("{} stored", size::short(self.stored)));
            }
            Phase::CinderBackup => add(format!("{} stored", size::short(self.stored))),
            Phase::Restore => add(format!("{} written", size::short(self.stored))),
            Phase::Verify => {}
        }
        text
    }

    /// At the mean rate so far; none before a second has passed, when that says little.
    fn time_left(&self, elapsed: Duration) -> Option<Duration> {
        if elapsed < Duration::from_secs(1) || self.done == 0 || self.total <= self.done {
            return None;
        }
        let seconds = elapsed.as_secs_f64() * (self.total - self.done) as f64 / self.done as f64;
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_from_the_mean_rate() {
        let reading = Reading { total: 400, done: 100, ..Reading::default() };
        assert_eq!(reading.time_left(Duration::from_secs(10)), Some(Duration::from_secs(30)));
        assert_eq!(reading.time_left(Duration::from_millis(10)), None);
        assert_eq!(Reading { done: 0, ..reading }.time_left(Duration::from_secs(10)), None);
        assert_eq!(Reading { total: 0, ..reading }.time_left(Duration::from_secs(10)), None);
        assert_eq!(Reading { total: u64::MAX, done: 1, ..reading }.time_left(Duration::MAX), None);
    }

    #[test]
    fn the_text_tells_what_the_operation_does() {
        let reading = Reading { total: 4 << 30, done: 1 << 30, new: 1 << 20, stored: 1 << 10 };
        assert_eq!(
            reading.text(Phase::Backup, Duration::from_secs(2)),
            "of 4.0 GiB, 512 MiB/s, 6 s left, 1.0 MiB new, 1.0 KiB stored"
        );
        let stream = Reading { total: 0, ..reading };
        assert_eq!(stream.text(Phase::Verify, Duration::from_secs(2)), "1.0 GiB, 512 MiB/s");
    }

    #[test]
    fn the_templates_are_valid() {
        for total_known in [true, false] {
            assert!(ProgressStyle::with_template(template(total_known)).is_ok());
        }
    }
}

//! [`Reporter`]: Cinder's progress notifications, by count and by timer.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::backup::Backup;
use crate::context::{Context, Notification};

/// Tells how much of a backup is done. (Cinder's own counter divides objects by bytes and stays near 0 percent; this one is a
/// percentage.)
pub(super) struct Reporter<'a> {
    context: &'a Context,
    backup: &'a Backup,
    total_bytes: u64,
    /// Of this backup: the context's own count goes on from one to the next.
    done_bytes: AtomicU64,
    chunks: AtomicU64,
    objects: AtomicU64,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(context: &'a Context, backup: &'a Backup, total_bytes: u64) -> Self {
        let progress = &context.control.progress;
        // Whoever watches may watch several operations, one after the other.
        progress.total_bytes.fetch_add(total_bytes, Ordering::Relaxed);
        let (done_bytes, chunks, objects) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { context, backup, total_bytes, done_bytes, chunks, objects }
    }

    /// So many bytes of the volume are done.
    pub(super) fn passed(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.context.control.progress.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes of an object are stored, and so many objects in all.
    pub(super) fn stored(&self, bytes: u64, objects: u64) {
        self.context.control.progress.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.objects.fetch_max(objects, Ordering::Relaxed);
    }

    /// A chunk of the volume is done: every so many of them, somebody is told.
    pub(super) fn chunk_done(&self) {
        let every = self.context.object_number_per_notification;
        let chunks = self.chunks.fetch_add(1, Ordering::Relaxed) + 1;
        if every > 0 && chunks.is_multiple_of(every) {
            self.notify();
        }
    }

    fn notify(&self) {
        let done = self.done_bytes.load(Ordering::Relaxed);
        let percent = if self.total_bytes == 0 { 100.0 } else { done as f64 * 100.0 / self.total_bytes as f64 };
        self.tell(percent.min(100.0));
    }

    /// All data are stored.
    pub(super) fn end(&self) {
        self.tell(100.0);
    }

    fn tell(&self, backup_percent: f64) {
        if let Some(notify) = &self.context.notify {
            let object_count = self.objects.load(Ordering::Relaxed);
            let backup_id = self.backup.id.clone();
            notify(self.backup, &Notification { backup_id, backup_percent, object_count });
        }
    }

    /// Tells at every interval of the timer, until the other end of `ended` is dropped.
    pub(super) fn run_timer(&self, ended: &Receiver<()>) {
        while ended.recv_timeout(self.context.backup_timer_interval) == Err(RecvTimeoutError::Timeout) {
            self.notify();
        }
    }
}

//! The threads that drive all connections of this process.

use std::future::Future;
use std::sync::OnceLock;
use std::{io, panic, thread};

use tokio::runtime::{Builder, Handle, Runtime};

/// Two threads move the bytes of some GB in a second; more would only take cores from those that hash and compress.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime that all backends of the process share, begun when it is first needed.
pub(crate) fn shared() -> io::Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime =
        Builder::new_multi_thread().worker_threads(THREADS).thread_name("cinderblock-http").enable_all().build()?;
    // Of two that come at once, one runtime is dropped before anything ran on it.
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Runs a future on this thread until it is done, whatever thread this is.
pub(crate) fn wait<F>(runtime: &'static Runtime, future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    if Handle::try_current().is_err() {
        return runtime.block_on(future);
    }
    // A thread of some runtime must not block on one; another thread may.
    thread::scope(|scope| match scope.spawn(|| runtime.block_on(future)).join() {
        Ok(output) => output,
        Err(panic) => panic::resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_a_runtime_may_wait() {
        let runtime = shared().unwrap();
        assert_eq!(runtime.block_on(async { wait(runtime, async { 7 }) }), 7);
        assert_eq!(wait(runtime, async { 8 }), 8);
    }
}

//! Many requests at once: [`for_each_in_flight`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Calls `work` for each item, for `count` of them at a time, each on a thread of its own: for work that mostly waits for a storage, whose
/// [`requests_in_flight`](crate::Backend::requests_in_flight) is the count. Items are begun in their order. With a count of at most one, or one item, all
/// happens on the calling thread.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let sum = AtomicU64::new(0);
/// cinderblock_backend::for_each_in_flight(8, &[1, 2, 3], |number| {
///     sum.fetch_add(*number, Ordering::Relaxed);
///     Ok::<(), std::io::Error>(())
/// })?;
/// assert_eq!(sum.into_inner(), 6);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The first error that happened. No further item is begun after it; those that were under way have ended when this returns.
pub fn for_each_in_flight<T: Sync, E: Send>(
    count: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let count = count.min(items.len());
    if count <= 1 {
        return items.iter().try_for_each(work);
    }
    let (next, failed, error) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let lane = || {
        while !failed.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(happened) = work(item) {
                failed.store(true, Ordering::Relaxed);
                error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(happened);
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..count {
            threads.spawn(lane);
        }
    });
    error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn so_many_are_under_way_together() {
        // Nobody passes until four are there.
        let barrier = Barrier::new(4);
        let items = [(); 8];
        let all = for_each_in_flight(4, &items, |()| {
            barrier.wait();
            Ok::<_, ()>(())
        });
        assert_eq!(all, Ok(()));
    }

    #[test]
    fn the_first_error_ends_it_and_none_is_begun_after_it() {
        for count in [0, 1, 3] {
            let begun = AtomicUsize::new(0);
            let items: Vec<u32> = (0..100).collect();
            let failed = for_each_in_flight(count, &items, |item| {
                begun.fetch_add(1, Ordering::Relaxed);
                if *item == 5 { Err(*item) } else { Ok(()) }
            });
            assert_eq!(failed, Err(5));
            // With three threads, the other two may each have begun many meanwhile, but one thread alone has not.
            assert!(count > 1 || begun.into_inner() == 6);
        }
    }
}

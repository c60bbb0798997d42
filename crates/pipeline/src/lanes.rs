//! [`Lanes`]: where jobs run that begin with a request to a storage.

use cinderblock_backend::for_each_in_flight;
use crossbeam_channel::{Sender, unbounded};
use rayon::prelude::*;
use rayon::{Scope, ThreadPool};

type Task<'t> = Box<dyn FnOnce() + Send + 't>;

/// Where jobs run: on the workers, if the storage answers at once. Else on threads of their own, which mostly wait: so many requests are under way
/// as the storage wants, and the workers have what came of them to work on. A job hands its work to them with
/// [`ThreadPool::install`], which on a worker is a plain call.
///
/// What bounds the memory of jobs is for who starts them.
pub(crate) enum Lanes<'l, 't> {
    Workers(&'l Scope<'t>),
    Threads(Sender<Task<'t>>),
}

impl<'t> Lanes<'_, 't> {
    /// Calls `run` with lanes for a storage that wants so many requests at once. All jobs have ended when this returns.
    pub(crate) fn with<T>(pool: &ThreadPool, in_flight: usize, run: impl FnOnce(&Lanes<'_, 't>) -> T) -> T {
        if in_flight <= 1 {
            return pool.in_place_scope(|workers| run(&Lanes::Workers(workers)));
        }
        let (sender, tasks) = unbounded::<Task<'t>>();
        std::thread::scope(|threads| {
            for _ in 0..in_flight {
                let tasks = tasks.clone();
                threads.spawn(move || tasks.iter().for_each(|task| task()));
            }
            // Dropped at the end: the threads end when nothing is left to do.
            let lanes = Lanes::Threads(sender);
            run(&lanes)
        })
    }

    pub(crate) fn start(&self, job: impl FnOnce() + Send + 't) {
        match self {
            Lanes::Workers(workers) => workers.spawn(move |_| job()),
            // The threads listen as long as the lanes are there, unless all have panicked, and the panic goes on when the scope ends.
            Lanes::Threads(sender) => drop(sender.send(Box::new(job))),
        }
    }
}

/// Calls `work` for all items, on the workers or, where the storage wants several requests at once, on so many threads of their own, which hand
/// what is to be computed to the workers. The first error ends it.
pub(crate) fn for_each<T: Sync, E: Send>(
    pool: &ThreadPool,
    in_flight: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync + Send,
) -> Result<(), E> {
    match in_flight {
        0 | 1 => pool.install(|| items.par_iter().try_for_each(work)),
        _ => for_each_in_flight(in_flight, items, work),
    }
}

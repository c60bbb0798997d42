//! Steps of the protocol that a simulation leaves out, to show that it would notice.

/// A step of the protocol between writers, readers and collectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Step {
    /// A writer treats what is condemned as absent.
    AvoidCondemned,
    /// A writer forgets directories that were read before its session.
    ForgetPacks,
    /// A writer looks for a fence before and after it puts its record.
    FenceCheck,
    /// A writer that does not know what became of its record stays announced.
    Abandon,
    /// A reader looks for the tombstone of a record's session.
    ReaderCheck,
    /// A collector waits for sessions that have not seen its collection.
    Wait,
    /// A collector that waited in vain puts a fence up.
    Fence,
    /// A collector looks, after a fence, whether the record was there before.
    LookAfterFence,
    /// A collector marks again, after it has waited.
    SecondMark,
    /// A collector marks anew where damage was noted since it marked.
    NotedDamage,
    /// A collector copies what is needed again out of condemned packs.
    Salvage,
    /// A collector counts what others have condemned as gone.
    OthersCollections,
    /// A collector lists what there is anew before it deletes.
    FreshListing,
    /// A collector waits until listings show what it has put.
    Settle,
    /// A writer leaves its last announcement but one, since listings lag.
    KeepRenewal,
    /// A fenced writer that can't take its record back, as it can't delete, puts the tombstone of its session.
    OwnTombstone,
    /// A writer that can't remove its announcement says that it has ended only when it is certain what becomes of its record.
    EndLast,
    /// A writer that has kept the directory of a pack looks whether the pack is still there.
    KeptDirectory,
}

#[cfg(test)]
impl Step {
    /// All steps.
    pub(crate) const ALL: [Step; 18] = [
        Step::AvoidCondemned,
        Step::ForgetPacks,
        Step::FenceCheck,
        Step::Abandon,
        Step::ReaderCheck,
        Step::Wait,
        Step::Fence,
        Step::LookAfterFence,
        Step::SecondMark,
        Step::NotedDamage,
        Step::Salvage,
        Step::OthersCollections,
        Step::FreshListing,
        Step::Settle,
        Step::KeepRenewal,
        Step::OwnTombstone,
        Step::EndLast,
        Step::KeptDirectory,
    ];
}

/// Whether to leave a step out: never, but in a simulation that wants it.
#[cfg(not(test))]
pub(crate) const fn skips(_: Step) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switched::{sabotage, skips};

#[cfg(test)]
mod switched {
    use std::cell::Cell;

    use super::Step;

    thread_local! {
        static SKIPPED: Cell<Option<Step>> = const { Cell::new(None) };
    }

    /// From now on, this thread leaves out this step.
    pub(crate) fn sabotage(step: Option<Step>) {
        SKIPPED.set(step);
    }

    pub(crate) fn skips(step: Step) -> bool {
        SKIPPED.get() == Some(step)
    }
}

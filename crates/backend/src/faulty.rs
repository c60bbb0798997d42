//! [`Faulty`]: makes chosen operations of a backend fail.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decorator::{Around, decorate};
use crate::{Backend, Error, Kind, Request};

/// Makes chosen operations of another backend fail, to test what its users do then.
///
/// Each operation is held against the [`Rule`]s in the order in which they were added; the first whose turn it is decides. Without
/// rules, nothing fails.
///
/// ```
/// use cinderblock_backend::{Backend, Faulty, Kind, Memory, ObjectName, Rule};
///
/// let backend = Faulty::new(Memory::new());
/// // The answer to the first put of a record is lost.
/// backend.add(Rule::on(Kind::Put).prefix("backups/").times(1).performed());
///
/// let name = ObjectName::new("backups/v/1")?;
/// assert!(backend.put(&name, &[b"record"]).is_err());
/// assert_eq!(backend.get(&name, 100)?, b"record");
/// assert_eq!(backend.faults(), 1);
/// # Ok::<(), cinderblock_backend::Error>(())
/// ```
pub struct Faulty<B> {
    inner: B,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    faults: u64,
}

type Predicate = Box<dyn Fn(&Request<'_>) -> bool + Send + Sync>;
type MakeError = Box<dyn Fn(&Request<'_>) -> Error + Send + Sync>;

/// Which operations fail, when, and how. By default: all of them, always, before anything was done, with [`Error::Io`].
///
/// The conditions are joined by "and". [`skip`](Rule::skip), [`every`](Rule::every) and [`times`](Rule::times) count
/// only operations that meet all others, and that no earlier rule let fail.
pub struct Rule {
    predicates: Vec<Predicate>,
    skip: u64,
    every: u64,
    times: u64,
    performed: bool,
    error: MakeError,
    /// Operations that met the predicates so far.
    met: u64,
}

impl Rule {
    /// All operations.
    pub fn any() -> Rule {
        let injected = |request: &Request<'_>| Error::Io {
            operation: request.kind.verb(),
            name: request.name.to_owned(),
            source: io::Error::other("injected fault"),
        };
        Rule {
            predicates: Vec::new(),
            skip: 0,
            every: 1,
            times: u64::MAX,
            performed: false,
            error: Box::new(injected),
            met: 0,
        }
    }

    /// Operations of one kind.
    pub fn on(kind: Kind) -> Rule {
        Rule::any().when(move |request| request.kind == kind)
    }

    /// Only for objects (for a listing: prefixes) whose name begins with `prefix`.
    pub fn prefix(self, prefix: impl Into<String>) -> Rule {
        let prefix = prefix.into();
        self.when(move |request| request.name.starts_with(&prefix))
    }

    /// Only for operations for which `predicate` is true. It must not use the same `Faulty`, which is locked meanwhile.
    pub fn when(mut self, predicate: impl Fn(&Request<'_>) -> bool + Send + Sync + 'static) -> Rule {
        self.predicates.push(Box::new(predicate));
        self
    }

    /// Lets the first `count` go.
    pub fn skip(self, count: u64) -> Rule {
        Rule { skip: count, ..self }
    }

    /// Only every `n`-th, beginning with the `n`-th that is not skipped. 0 counts as 1.
    pub fn every(self, n: u64) -> Rule {
        Rule { every: n.max(1), ..self }
    }

    /// At most so many failures.
    pub fn times(self, count: u64) -> Rule {
        Rule { times: count, ..self }
    }

    /// The operation is performed, but reported as failed, as when an answer is lost. If it fails on its own, that is the error.
    pub fn performed(self) -> Rule {
        Rule { performed: true, ..self }
    }

    /// The error with which it fails. The closure must not use the same `Faulty`, which is locked meanwhile.
    pub fn error(self, error: impl Fn(&Request<'_>) -> Error + Send + Sync + 'static) -> Rule {
        Rule { error: Box::new(error), ..self }
    }

    /// Counts the request if it meets the predicates, and tells whether it is to fail.
    fn decide(&mut self, request: &Request<'_>) -> bool {
        if self.times == 0 || !self.predicates.iter().all(|predicate| predicate(request)) {
            return false;
        }
        self.met += 1;
        let fails = self.met > self.skip && (self.met - self.skip).is_multiple_of(self.every);
        if fails {
            self.times -= 1;
        }
        fails
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("skip", &self.skip)
            .field("every", &self.every)
            .field("times", &self.times)
            .field("performed", &self.performed)
            .field("met", &self.met)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Faulty<B> {
    /// Lets everything go to `inner`, as yet.
    pub fn new(inner: B) -> Faulty<B> {
        Faulty { inner, state: Mutex::new(State::default()) }
    }

    /// Adds a rule, behind those that are there.
    pub fn add(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Removes all rules: from here on, nothing fails.
    pub fn heal(&self) {
        self.state().rules.clear();
    }

    /// How many operations were made to fail so far.
    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    /// The backend that does the work.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A predicate that panics leaves the counts as they were.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of the rule whose turn it is, and whether to perform the operation first.
    fn fault(&self, request: &Request<'_>) -> Option<(Error, bool)> {
        let mut state = self.state();
        let rule = state.rules.iter_mut().find_map(|rule| rule.decide(request).then_some(&*rule))?;
        let fault = ((rule.error)(request), rule.performed);
        state.faults += 1;
        Some(fault)
    }
}

impl<B: Backend> Around for Faulty<B> {
    fn around<T>(
        &self,
        request: Request<'_>,
        perform: impl FnOnce() -> Result<T, Error>,
        _amount: impl FnOnce(&T) -> u64,
    ) -> Result<T, Error> {
        match self.fault(&request) {
            None => perform(),
            Some((error, false)) => Err(error),
            Some((error, true)) => {
                perform()?;
                Err(error)
            }
        }
    }
}

decorate!(Faulty);

impl<B: fmt::Debug> fmt::Debug for Faulty<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Faulty")
            .field("inner", &self.inner)
            .field("rules", &state.rules)
            .field("faults", &state.faults)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{Memory, ObjectName};

    fn name(n: u32) -> ObjectName {
        ObjectName::new(format!("o{n}")).unwrap()
    }

    fn failing_puts(rule: Rule) -> Vec<u32> {
        let backend = Faulty::new(Memory::new());
        backend.add(rule);
        (1..=9).filter(|n| backend.put(&name(*n), &[b"x"]).is_err()).collect()
    }

    #[test]
    fn rules_choose_by_count_and_name() {
        assert_eq!(failing_puts(Rule::any().every(3)), [3, 6, 9]);
        assert_eq!(failing_puts(Rule::on(Kind::Put).skip(4).every(2).times(2)), [6, 8]);
        assert_eq!(failing_puts(Rule::any().prefix("o7")), [7]);
        assert_eq!(failing_puts(Rule::on(Kind::Get)), []);
        assert_eq!(failing_puts(Rule::any().when(|request| request.name == "o2")), [2]);
    }

    #[test]
    fn an_operation_fails_with_the_chosen_error_until_healed() {
        let backend = Faulty::new(Memory::new());
        backend.put(&name(1), &[b"x"]).unwrap();
        backend
            .add(Rule::on(Kind::Get).error(|request| Error::NotFound { name: ObjectName::new(request.name).unwrap() }));
        assert!(backend.get(&name(1), 1).unwrap_err().is_not_found());
        assert!(backend.size(&name(1)).is_ok());
        backend.heal();
        assert!(backend.get(&name(1), 1).is_ok());
        assert_eq!(backend.faults(), 1);
    }

    #[test]
    fn a_failed_change_happened_only_if_it_was_performed() {
        let backend = Faulty::new(Memory::new());
        backend.add(Rule::on(Kind::Finish).times(1));
        backend.add(Rule::on(Kind::Finish).times(1).performed());
        assert!(backend.create(&name(1)).unwrap().finish().is_err());
        assert!(backend.create(&name(2)).unwrap().finish().is_err());
        assert!(backend.size(&name(1)).unwrap_err().is_not_found());
        assert_eq!(backend.size(&name(2)).unwrap(), 0);

        backend.add(Rule::on(Kind::Delete).times(1).performed());
        assert!(!backend.delete(&name(2)).unwrap_err().is_not_found());
        assert!(backend.size(&name(2)).unwrap_err().is_not_found());
    }

    #[test]
    fn an_object_with_a_failed_write_can_not_be_finished() {
        let backend = Faulty::new(Memory::new());
        backend.add(Rule::on(Kind::Write).times(1));
        let mut writer = backend.create(&name(1)).unwrap();
        writer.write_all(b"lost").unwrap_err();
        writer.write_all(b"kept").unwrap();
        assert!(matches!(writer.finish(), Err(Error::Incomplete { .. })));
        assert!(backend.size(&name(1)).unwrap_err().is_not_found());
    }
}

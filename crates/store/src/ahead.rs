//! [`Ahead`]: reads a few objects at once, and has them one by one.

use std::sync::{Mutex, PoisonError};

use cinderblock_backend::for_each_in_flight;

use crate::error::Error;

/// What `read` makes of each of `items`, in their order; so many are read together whenever none is left.
pub(crate) struct Ahead<'a, T, V, R> {
    in_flight: usize,
    items: &'a [T],
    read: R,
    /// The last one comes first.
    there: Vec<(T, Result<V, Error>)>,
}

impl<'a, T: Clone + Sync + Send, V: Send, R: Fn(&T) -> Result<V, Error> + Sync> Ahead<'a, T, V, R> {
    pub(crate) fn new(in_flight: usize, items: &'a [T], read: R) -> Self {
        Self { in_flight: in_flight.max(1), items, read, there: Vec::new() }
    }

    pub(crate) fn next(&mut self) -> Option<(T, Result<V, Error>)> {
        if self.there.is_empty() {
            let (together, rest) = self.items.split_at(self.in_flight.min(self.items.len()));
            self.items = rest;
            let numbered: Vec<(usize, T)> = together.iter().cloned().enumerate().collect();
            let found = Mutex::new(Vec::with_capacity(numbered.len()));
            let _ = for_each_in_flight(self.in_flight, &numbered, |(number, item)| {
                let value = (self.read)(item);
                found.lock().unwrap_or_else(PoisonError::into_inner).push((*number, item.clone(), value));
                Ok::<(), Error>(())
            });
            let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
            found.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
            self.there = found.into_iter().map(|(_, item, value)| (item, value)).collect();
        }
        self.there.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_whatever_is_read_at_once() {
        let items: Vec<u64> = (0..25).collect();
        for in_flight in [0, 1, 4, 100] {
            let mut ahead = Ahead::new(in_flight, &items, |item| Ok(item * 2));
            let mut seen = Vec::new();
            while let Some((item, value)) = ahead.next() {
                seen.push((item, value.unwrap()));
            }
            assert_eq!(seen, items.iter().map(|item| (*item, item * 2)).collect::<Vec<_>>());
        }
    }
}

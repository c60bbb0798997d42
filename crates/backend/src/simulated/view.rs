//! [`View`]: the store as one actor of a simulation has it.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::world::{Change, Listing};
use crate::{Backend, Error, ForeignName, Kind, ObjectInfo, ObjectName, ObjectWriter, Tail};

/// The store as one actor has it.
pub(super) struct View {
    pub(super) shared: Arc<Shared>,
    pub(super) actor: usize,
}

struct ViewWriter<'a> {
    view: &'a View,
    name: ObjectName,
    bytes: Vec<u8>,
    failed: bool,
}

impl Write for ViewWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let buffer = &mut self.bytes;
        let written = self.view.shared.read(self.view.actor, Kind::Write, self.name.as_str(), |_| {
            buffer.extend_from_slice(bytes);
            Ok(bytes.len())
        });
        written.map_err(|error| {
            self.failed = true;
            io::Error::other(error)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for ViewWriter<'_> {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let ViewWriter { view, name, bytes, failed } = *self;
        if failed {
            let incomplete = || Error::Incomplete { name: name.clone() };
            return view.shared.read(view.actor, Kind::Finish, name.as_str(), |_| Err(incomplete()));
        }
        view.shared.change(view.actor, Kind::Finish, Change::Put(name, bytes))
    }
}

impl Backend for View {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.shared.read(self.actor, Kind::Create, name.as_str(), |world| {
            // Some stores notice here that a name is taken, others when the object is finished.
            if world.memory.size(name).is_ok() && world.random.chance(0.5) {
                return Err(Error::AlreadyExists { name: name.clone() });
            }
            Ok(())
        })?;
        Ok(Box::new(ViewWriter { view: self, name: name.clone(), bytes: Vec::new(), failed: false }))
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.shared.change(self.actor, Kind::Put, Change::Put(name.clone(), parts.concat()))
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.shared.read(self.actor, Kind::Get, name.as_str(), |world| world.memory.get(name, limit))
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.shared.read(self.actor, Kind::ReadInto, name.as_str(), |world| world.memory.read_into(name, offset, buf))
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.shared.read(self.actor, Kind::GetTail, name.as_str(), |world| world.memory.get_tail(name, len))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.shared.read(self.actor, Kind::Size, name.as_str(), |world| world.memory.size(name))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        let weather = self.shared.weather(self.actor);
        let mut listing: Option<Listing> = None;
        loop {
            let page = self.shared.read(self.actor, Kind::List, prefix, |world| {
                let listing = match &mut listing {
                    Some(listing) => listing,
                    none => none.insert(world.begin_listing(&weather, prefix)?),
                };
                Ok(world.next_page(listing, weather.settle_delay))
            })?;
            page.into_iter().try_for_each(&mut *visit)?;
            if listing.as_ref().is_none_or(Listing::is_at_end) {
                return Ok(());
            }
        }
    }

    fn list_foreign(
        &self,
        prefix: &str,
        _visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // There is nothing but objects.
        self.shared.read(self.actor, Kind::ListForeign, prefix, |_| Ok(()))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.shared.change(self.actor, Kind::Delete, Change::Delete(name.clone()))
    }

    fn settle_delay(&self) -> Duration {
        self.shared.weather(self.actor).settle_delay
    }

    fn location(&self) -> String {
        "simulation".to_owned()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("actor", &self.actor).finish_non_exhaustive()
    }
}

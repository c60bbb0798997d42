//! [`Containers`]: all containers of a service as one backend.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cinderblock_backend::{Backend, Error, ForeignName, Leftovers, ObjectInfo, ObjectName, ObjectWriter, Tail};

use crate::{Container, Environment, Place, Service, Settings, aws, open};

/// What no object's name begins with: who lists it learns whether there is a container.
const NOTHING: &str = "cinderblock-asks-whether-this-container-is-there";

/// The buckets or containers of a service: the object `c/o` is object `o` of the container `c`, which is opened when it is first
/// needed.
///
/// Containers can't be listed: every prefix of a [listing](Backend::list) begins with the name of one and a slash.
pub struct Containers {
    service: Service,
    environment: Environment,
    settings: Settings,
    first: Slot,
}

type Slot = OnceLock<Box<Opened>>;

/// A container that is open. They are few, and stay until the end: writers borrow them.
struct Opened {
    name: String,
    backend: Arc<dyn Backend>,
    next: Slot,
}

impl Containers {
    /// The containers of the account that the environment of this process names. It is not asked for anything yet.
    pub fn new(service: Service, settings: &Settings) -> Containers {
        Containers { service, environment: Environment::of_process(), settings: settings.clone(), first: Slot::new() }
    }

    /// The service.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Whether there is a container of this name, as far as it may be listed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`]; and what the service says.
    pub fn is_there(&self, container: &str) -> Result<bool, Error> {
        match self.opened(container)?.list(NOTHING, &mut |_| Err(Error::Stopped)) {
            Ok(()) | Err(Error::Stopped) => Ok(true),
            Err(Error::NoContainer { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a container. That it is there already is no error.
    ///
    /// Buckets of S3 are made in the region that the environment names, containers of Swift with the cluster's own storage policy. Those
    /// of other services have more that somebody has to decide, and are not made.
    ///
    /// # Errors
    ///
    /// [`Error::NoContainer`] where the service is one of those; [`Error::InvalidName`]; and what the service says.
    pub fn make(&self, container: &str) -> Result<(), Error> {
        let found = self.container(container)?;
        let failed = |error: crate::Error| cannot("make", &found, error);
        match self.service {
            Service::S3 => aws::make_bucket(&self.environment, &found, &self.settings),
            Service::Swift => open::open_swift(&self.environment, &found, &self.settings).map_err(failed)?.make(),
            Service::Gcs | Service::Azure => {
                let word = self.service.container_word();
                Err(Error::NoContainer {
                    location: found.to_string(),
                    advice: format!("make the {word} first"),
                    source: "only buckets of S3 and containers of Swift are made where they are missing".into(),
                })
            }
        }
    }

    /// What a name stands for, if it can be a container's.
    fn container(&self, name: &str) -> Result<Container, Error> {
        let place = format!("{}://{name}", self.service.scheme()).parse();
        match place {
            Ok(Place::Container(container)) if container.name() == name => Ok(container),
            _ => Err(Error::InvalidName {
                name: name.to_owned(),
                reason: "a bucket's or container's has 1 to 255 of A-Z a-z 0-9 . _ -, and begins with none of . _ -",
            }),
        }
    }

    fn opened(&self, name: &str) -> Result<&dyn Backend, Error> {
        let mut slot = &self.first;
        loop {
            let opened = match slot.get() {
                Some(opened) => opened,
                None => {
                    let container = self.container(name)?;
                    let backend = open::open_container(&self.environment, &container, &self.settings)
                        .map_err(|error| cannot("open", &container, error))?;
                    // Another thread may have been faster, with this container or another one.
                    slot.get_or_init(|| Box::new(Opened { name: name.to_owned(), backend, next: Slot::new() }))
                }
            };
            if opened.name == name {
                return Ok(&*opened.backend);
            }
            slot = &opened.next;
        }
    }

    fn all_opened(&self) -> impl Iterator<Item = &dyn Backend> {
        let first = self.first.get();
        std::iter::successors(first, |opened| opened.next.get()).map(|opened| &*opened.backend)
    }

    /// The container that an object is in, and its name there.
    fn object(&self, name: &ObjectName) -> Result<(&dyn Backend, ObjectName), Error> {
        let Some((container, object)) = name.as_str().split_once('/') else {
            let reason = "it has to begin with the name of a container and a slash";
            return Err(Error::InvalidName { name: name.to_string(), reason });
        };
        Ok((self.opened(container)?, ObjectName::new(object)?))
    }

    /// Runs an operation on an object's container; what it says of the object is said with its whole name.
    fn on<'s, T>(
        &'s self,
        name: &ObjectName,
        operation: impl FnOnce(&'s dyn Backend, &ObjectName) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (backend, object) = self.object(name)?;
        operation(backend, &object).map_err(|error| renamed(error, name))
    }

    /// The container that a listing is of, with the slash behind its name, and what its objects' names begin with.
    fn listing<'p>(&self, prefix: &'p str) -> Result<(&dyn Backend, &'p str, &'p str), Error> {
        let Some(slash) = prefix.find('/') else {
            let reason = "a listing has to be that of a container: its name and a slash";
            return Err(Error::InvalidName { name: prefix.to_owned(), reason });
        };
        let (container, rest) = prefix.split_at(slash);
        let (root, rest) = (prefix.get(..=slash).unwrap_or(container), rest.get(1..).unwrap_or_default());
        Ok((self.opened(container)?, root, rest))
    }
}

/// The error of a container that can't even be asked.
fn cannot(operation: &'static str, container: &Container, error: crate::Error) -> Error {
    Error::from_io(operation, container.to_string(), io::Error::other(error))
}

/// The same error about an object by another name.
fn renamed(error: Error, name: &ObjectName) -> Error {
    let name = name.clone();
    match error {
        Error::NotFound { .. } => Error::NotFound { name },
        Error::AlreadyExists { .. } => Error::AlreadyExists { name },
        Error::TooLarge { size, limit, .. } => Error::TooLarge { name, size, limit },
        Error::UnexpectedEnd { offset, wanted, size, .. } => Error::UnexpectedEnd { name, offset, wanted, size },
        other => other,
    }
}

impl Backend for Containers {
    fn create<'a>(&'a self, name: &ObjectName) -> Result<Box<dyn ObjectWriter + 'a>, Error> {
        self.on(name, |backend, object| backend.create(object))
    }

    fn put(&self, name: &ObjectName, parts: &[&[u8]]) -> Result<(), Error> {
        self.on(name, |backend, object| backend.put(object, parts))
    }

    fn put_shared(&self, name: &ObjectName, parts: &[Bytes]) -> Result<(), Error> {
        self.on(name, |backend, object| backend.put_shared(object, parts))
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Error> {
        self.on(name, |backend, object| backend.get(object, limit))
    }

    fn read_into(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.on(name, |backend, object| backend.read_into(object, offset, buf))
    }

    fn get_tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Error> {
        self.on(name, |backend, object| backend.get_tail(object, len))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, Error> {
        self.on(name, |backend, object| backend.size(object))
    }

    fn list(&self, prefix: &str, visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>) -> Result<(), Error> {
        let (backend, root, rest) = self.listing(prefix)?;
        // A name that is too long with the container's before it is not passed over: its object might be looked for.
        backend.list(rest, &mut |found| {
            visit(ObjectInfo { name: ObjectName::new(format!("{root}{}", found.name))?, ..found })
        })
    }

    fn list_foreign(&self, prefix: &str, visit: &mut dyn FnMut(ForeignName) -> Result<(), Error>) -> Result<(), Error> {
        let (backend, root, rest) = self.listing(prefix)?;
        backend.list_foreign(rest, &mut |found| visit(ForeignName::new(format!("{root}{found}"))))
    }

    fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.on(name, |backend, object| backend.delete(object))
    }

    fn discard(&self, name: &ObjectName) -> Result<(), Error> {
        self.on(name, |backend, object| backend.discard(object))
    }

    fn forget_cached(&self, name: &ObjectName) {
        if let Ok((backend, object)) = self.object(name) {
            backend.forget_cached(&object);
        }
    }

    fn remove_leftovers(&self, prefix: &str, older_than: Duration, dry_run: bool) -> Result<Leftovers, Error> {
        let (backend, _, rest) = self.listing(prefix)?;
        backend.remove_leftovers(rest, older_than, dry_run)
    }

    /// The longest of the containers that are open.
    fn settle_delay(&self) -> Duration {
        self.all_opened().map(|backend| backend.settle_delay()).max().unwrap_or_default()
    }

    fn requests_in_flight(&self) -> usize {
        self.settings.requests_in_flight.max(1)
    }

    fn location(&self) -> String {
        format!("{}://", self.service.scheme())
    }
}

impl fmt::Debug for Containers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containers").field("location", &self.location()).finish_non_exhaustive()
    }
}

//! Where Cinder's containers are: a folder, a place in a bucket, or a service of which they are the buckets.

use std::sync::Arc;

use cinderblock_backend::{Backend, Error as BackendError, Folder};
use cinderblock_cinder::{BackendContainers, ContainerMaker, Layout};
use cinderblock_remote::{Containers, Place, Root, Settings};

use crate::arguments::cinder;
use crate::context::Context;
use crate::failure::Usage;

/// Modes of the posix driver's files and of a backup's own folder.
const OBJECT_MODE: u32 = 0o660;
const CONTAINER_MODE: u32 = 0o770;

/// Makes buckets, as Cinder's drivers do.
#[derive(Debug)]
struct Buckets(Arc<Containers>);

impl ContainerMaker for Buckets {
    fn is_there(&self, container: &str) -> Result<bool, BackendError> {
        self.0.is_there(container)
    }

    fn make(&self, container: &str) -> Result<(), BackendError> {
        self.0.make(container)
    }
}

/// How things are named there, if nobody says otherwise.
pub fn layout(root: &cinder::Root, given: Option<Layout>) -> Result<Layout, Usage> {
    match (&root.place, given) {
        (Root::Service(service), Some(Layout::Posix)) => Err(Usage(format!(
            "--layout posix names a container for each backup, with slashes in it, which a {0} can't have: use --layout swift, as \
             Cinder does there, or a --container-root in a {0}",
            service.container_word(),
        ))),
        (_, Some(layout)) => Ok(layout),
        (root, None) if root.is_remote() => Ok(Layout::Swift),
        (_, None) => Ok(Layout::Posix),
    }
}

/// Refuses what can't be the names of a service's containers.
pub fn check_names<'c>(root: &cinder::Root, containers: impl IntoIterator<Item = &'c str>) -> Result<(), Usage> {
    let Root::Service(service) = root.place else { return Ok(()) };
    match containers.into_iter().find(|container| container.contains('/')) {
        Some(container) => Err(Usage(format!(
            "the name of a {} has no slash, as {container} has; what follows it belongs to the prefix",
            service.container_word(),
        ))),
        None => Ok(()),
    }
}

/// Opens what has to be there.
pub fn open(context: &Context, root: &cinder::Root) -> anyhow::Result<Arc<dyn Backend>> {
    let storage: Arc<dyn Backend> = match &root.place {
        Root::Service(service) => Arc::new(Containers::new(*service, &Settings::default())),
        Root::Below(place) => cinderblock_remote::open(place, &Settings::default())?,
        // Nothing else can be parsed.
        _ => return Err(unknown(root).into()),
    };
    Ok(context.limited(storage))
}

/// Containers to write into; a folder that is not there is made, and so are buckets where they are needed.
pub fn create(
    context: &Context,
    root: &cinder::Root,
    layout: Layout,
    zone: &str,
) -> anyhow::Result<BackendContainers<Arc<dyn Backend>>> {
    let with = |storage| BackendContainers::new(context.limited(storage), layout, zone);
    match &root.place {
        Root::Service(service) => {
            let containers = Arc::new(Containers::new(*service, &Settings::default()));
            let maker = Arc::new(Buckets(Arc::clone(&containers)));
            Ok(with(containers).made_by(maker).with_writer_bytes(service.writer_bytes() as u64))
        }
        Root::Below(Place::Folder(path)) => {
            let folder = Folder::create(path)?;
            let folder = match layout {
                Layout::Posix => folder.with_modes(OBJECT_MODE, CONTAINER_MODE),
                _ => folder,
            };
            Ok(with(Arc::new(folder)))
        }
        Root::Below(place @ Place::Container(container)) => {
            let storage = cinderblock_remote::create(place, &Settings::default())?;
            Ok(with(storage).with_writer_bytes(container.service().writer_bytes() as u64))
        }
        _ => Err(unknown(root).into()),
    }
}

fn unknown(root: &cinder::Root) -> Usage {
    Usage(format!("containers can't be kept in {}", root.place))
}

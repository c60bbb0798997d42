//! Listing what is in a repository by kind.

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;
use crate::id::{PackId, SegmentId};
use crate::layout;

/// The index segments, in no particular order.
pub(crate) fn segments<C: Default + Extend<SegmentId>>(backend: &dyn Backend) -> Result<C, Error> {
    let mut found = C::default();
    backend.list(layout::SEGMENTS, &mut |info| {
        found.extend(layout::parse_segment(&info.name));
        Ok(())
    })?;
    Ok(found)
}

/// The segments, each with the length of its object in bytes, by id.
pub(crate) fn segment_sizes(backend: &dyn Backend) -> Result<Vec<(SegmentId, u64)>, Error> {
    let mut found = Vec::new();
    backend.list(layout::SEGMENTS, &mut |info| {
        found.extend(layout::parse_segment(&info.name).map(|id| (id, info.size)));
        Ok(())
    })?;
    found.sort_unstable();
    Ok(found)
}

/// The packs, each with the length of its object in bytes, in no particular order.
pub(crate) fn packs<C: Default + Extend<(PackId, u64)>>(backend: &dyn Backend) -> Result<C, Error> {
    let mut found = C::default();
    backend.list(layout::PACKS, &mut |info| {
        found.extend(layout::parse_pack(&info.name).map(|id| (id, info.size)));
        Ok(())
    })?;
    Ok(found)
}

/// Whether an object is there now: unlike a listing, this never lags.
pub(crate) fn exists(backend: &dyn Backend, name: &ObjectName) -> Result<bool, Error> {
    match backend.size(name) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Any one object whose name begins so, if there is one: the listing ends there.
pub(crate) fn any(backend: &dyn Backend, prefix: &str) -> Result<Option<ObjectName>, Error> {
    let mut first = None;
    let listed = backend.list(prefix, &mut |info| {
        first = Some(info.name);
        Err(cinderblock_backend::Error::Stopped)
    });
    match first {
        Some(name) => Ok(Some(name)),
        None => Ok(listed.map(|()| None)?),
    }
}

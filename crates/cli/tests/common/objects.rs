//! The objects of a repository in a folder or a bucket, without the command.

use std::sync::Arc;

use cinderblock_backend::{Backend, ObjectInfo, ObjectName};

use super::Place;

/// The objects of a repository, seen and changed behind its back.
pub struct Objects(Arc<dyn Backend>);

impl Objects {
    /// Those below a folder or a URL that a place's commands reach.
    pub fn of(place: &Place, repository: &str) -> Objects {
        use cinderblock_remote::{Environment, Settings, open_in};
        let variables: Vec<(&str, &str)> = place.environment().iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let target = match repository.contains("://") {
            true => repository.parse().unwrap(),
            false => cinderblock_remote::Place::Folder(place.path(repository)),
        };
        Objects(open_in(&Environment::new(&variables), &target, &Settings::default()).unwrap())
    }

    /// Names of those whose names begin so, in order.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut visit = |object: ObjectInfo| {
            names.push(object.name.to_string());
            Ok(())
        };
        self.0.list(prefix, &mut visit).unwrap();
        names.sort();
        names
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        self.0.get(&ObjectName::new(name).unwrap(), 1 << 30).unwrap()
    }

    pub fn delete(&self, name: &str) {
        self.0.delete(&ObjectName::new(name).unwrap()).unwrap();
    }

    /// Puts other bytes in the place of an object.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        self.delete(name);
        self.0.put(&ObjectName::new(name).unwrap(), &[bytes]).unwrap();
    }

    /// The largest whose name begins so.
    pub fn largest(&self, prefix: &str) -> String {
        let mut largest = (0, String::new());
        let mut visit = |object: ObjectInfo| {
            largest = largest.clone().max((object.size, object.name.to_string()));
            Ok(())
        };
        self.0.list(prefix, &mut visit).unwrap();
        largest.1
    }
}

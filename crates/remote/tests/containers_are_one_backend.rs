//! Names of objects in containers of a service: what is refused before anything is asked.

use cinderblock_backend::{Backend as _, Error, ObjectName};
use cinderblock_remote::{Containers, Service, Settings};

const SERVICES: [Service; 4] = [Service::S3, Service::Gcs, Service::Azure, Service::Swift];

fn containers(service: Service) -> Containers {
    Containers::new(service, &Settings::default())
}

#[test]
fn an_object_is_in_a_container() {
    for service in SERVICES {
        let containers = containers(service);
        let name = ObjectName::new("no-container").unwrap();
        assert!(matches!(containers.size(&name), Err(Error::InvalidName { .. })), "{service:?}");
        assert!(matches!(containers.put(&name, &[b"x"]), Err(Error::InvalidName { .. })), "{service:?}");
        assert!(containers.create(&name).is_err(), "{service:?}");
    }
}

#[test]
fn a_listing_is_of_a_container() {
    for service in SERVICES {
        for prefix in ["", "volumebackups"] {
            let listed = containers(service).list(prefix, &mut |object| panic!("{object:?}"));
            assert!(matches!(listed, Err(Error::InvalidName { .. })), "{service:?} {prefix:?}: {listed:?}");
        }
    }
}

#[test]
fn a_container_has_a_name_that_one_can_have() {
    for service in SERVICES {
        for name in ["", "a/b", "a b", ".a", "a?b", "a@b", "ä", &"a".repeat(256)] {
            let containers = containers(service);
            assert!(matches!(containers.make(name), Err(Error::InvalidName { .. })), "{service:?} {name:?}");
            assert!(matches!(containers.is_there(name), Err(Error::InvalidName { .. })), "{service:?} {name:?}");
        }
    }
}

#[test]
fn what_has_more_to_decide_is_not_made() {
    for (service, word) in [(Service::Gcs, "bucket"), (Service::Azure, "container")] {
        let error = containers(service).make("volumebackups").unwrap_err();
        assert!(matches!(error, Error::NoContainer { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("make the {word} first")), "{error}");
    }
}

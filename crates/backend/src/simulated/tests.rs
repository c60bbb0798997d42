//! Each kind of weather, and that a seed always does the same.

mod mishaps;
mod turns;

use super::*;
use crate::{Backend, Error, ObjectName};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn listing(backend: &dyn Backend) -> Vec<String> {
    let mut names = Vec::new();
    backend
        .list("", &mut |object| {
            names.push(object.name.to_string());
            Ok(())
        })
        .unwrap();
    names.sort();
    names
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(3600 * n)
}

/// Does a bit of everything, and goes on whatever fails.
fn busy(handle: &ActorHandle, side: &str) {
    let backend = handle.backend();
    for n in 0..20 {
        let mut id = [0; 8];
        handle.fill_random(&mut id);
        let object = name(&format!("{side}/{n}-{:x}", u64::from_le_bytes(id)));
        let _ = match backend.create(&object) {
            Ok(mut writer) => std::io::Write::write_all(&mut writer, b"12345").map(|()| writer.finish().is_ok()),
            Err(_) => Ok(backend.put(&object, &[b"12345"]).is_ok()),
        };
        let mut seen = Vec::new();
        let _ = backend.list("", &mut |info| {
            seen.push(info.name);
            Ok(())
        });
        if let Some(victim) = seen.get(n % seen.len().max(1)) {
            let _ = backend.get_tail(victim, 3);
            let _ = backend.delete(victim);
        }
        handle.sleep(Duration::from_secs(n as u64));
    }
}

//! The servers that the environment names.

/// The container that a variable names, or nothing, with a word about it, where it is not set.
pub fn place(variable: &str) -> Option<String> {
    let place = std::env::var(variable).ok().filter(|place| !place.is_empty());
    if place.is_none() {
        eprintln!("{variable} is not set: skipped; 'make test-remote' starts the server");
    }
    place.map(|place| place.trim_end_matches('/').to_owned())
}

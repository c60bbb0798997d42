//! What machine this is, in words.

use std::fs;
use std::thread;

/// Processor, cores, memory, kernel and system, as far as they can be found out.
#[must_use]
pub fn describe() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processor = value(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(|| "unknown processor".into());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = value(&read("/proc/meminfo"), "MemTotal", ':').and_then(|text| {
        let kib: u64 = text.split_whitespace().next()?.parse().ok()?;
        Some(format!(", {} GiB", (kib + (1 << 19)) >> 20))
    });
    let kernel = read("/proc/sys/kernel/osrelease");
    let system = value(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_else(|| "unknown system".into());
    let s = if cores == 1 { "" } else { "s" };
    format!("{processor}, {cores} core{s}{}; Linux {}; {system}", memory.unwrap_or_default(), kernel.trim())
}

/// The value of the first line that begins with `name`, without spaces and quotes around it.
fn value(text: &str, name: &str, separator: char) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(separator)?.1.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_without_their_quotes() {
        let text = "NAME=\"x\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nmodel name\t: AMD EPYC\n";
        assert_eq!(value(text, "PRETTY_NAME", '=').as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(value(text, "model name", ':').as_deref(), Some("AMD EPYC"));
        assert_eq!(value(text, "MemTotal", ':'), None);
        assert!(describe().contains("core"));
    }
}

//! Processor time that others took: whether a measurement was disturbed.

use std::fs;

use anyhow::{Context, Result, ensure};

/// Seconds that all processors were busy since the system started: user, nice, system, interrupts
/// and what a hypervisor gave to others.
///
/// # Errors
/// `/proc/stat` cannot be read, or not understood.
pub fn seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = ticks(&stat).context("cannot understand /proc/stat")?;
    // SAFETY: sysconf has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ensure!(per_second > 0, "cannot tell how long a tick is");
    Ok(ticks as f64 / per_second as f64)
}

/// The busy ticks in the first line, `cpu user nice system idle iowait irq softirq steal ...`;
/// the columns after these are parts of the first two.
fn ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let columns: Vec<u64> = line.split_whitespace().take(8).map(|column| column.parse().ok()).collect::<Option<_>>()?;
    let &[user, nice, system, _idle, _iowait, irq, softirq, steal] = columns.as_slice() else { return None };
    Some(user + nice + system + irq + softirq + steal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_guests_do_not_count() {
        assert_eq!(ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 5"), Some(87_600_321));
        assert_eq!(ticks("cpu  1 2 3"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn work_makes_the_processors_busy() {
        let before = seconds().unwrap();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 100 {
            std::hint::spin_loop();
        }
        assert!(seconds().unwrap() > before);
    }
}

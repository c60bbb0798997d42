//! A command's wall time, processor time and peak memory.
//!
//! Linux counts in a process's peak the memory of the process it was forked from. So the command
//! is not started by the benchmark, which holds hundreds of megabytes, but by a second, small
//! instance of its program: [`run`] starts that one as `PROGRAM --measure COMMAND...`, and the
//! program's `main` asks [`Instance::work`] first.
//!
//! Leading words of a command that begin with `<` and `>` name files for its standard input and output, as a
//! shell writes them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

/// What a finished command took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Wall seconds, from before its start to after its end.
    pub wall: f64,
    /// Seconds of processor time, user and system, of all its threads.
    pub cpu: f64,
    /// Peak resident memory in MiB.
    pub peak_mib: f64,
}

/// The option with which a program starts a small instance of itself, see the [module](self).
#[derive(Debug, Args)]
pub struct Instance {
    /// Run a command and print what it took: how this program starts what it measures.
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND")]
    measure: Vec<OsString>,
}

impl Instance {
    /// Where this is the small instance, does its work: its end is the program's.
    pub fn work(&self) -> Option<Result<ExitCode>> {
        (!self.measure.is_empty()).then(|| here(&self.measure))
    }
}

impl Measured {
    /// What is no process has its wall time only, in seconds.
    #[must_use]
    pub fn of_wall(wall: f64) -> Self {
        Self { wall, ..Self::default() }
    }

    /// Adds a command that ran after this one: times add up, of the peaks the higher one counts.
    pub fn add(&mut self, next: &Self) {
        self.wall += next.wall;
        self.cpu += next.cpu;
        self.peak_mib = self.peak_mib.max(next.peak_mib);
    }
}

/// What a command runs in.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables that are set besides those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working folder; that of this process if none is given.
    pub folder: Option<PathBuf>,
}

/// Runs `command` to its end and measures it; what it prints is appended to `log`.
///
/// Only for a program whose `main` knows `--measure`, see the [module](self).
///
/// # Errors
/// The command cannot be started, or fails; `log` cannot be written.
pub fn run(command: &[OsString], log: &Path) -> Result<Measured> {
    run_in(&Surroundings::default(), command, log)
}

/// Runs `command` as [`run`] does, in given surroundings.
///
/// # Errors
/// Those of [`run`]; the folder is missing.
pub fn run_in(surroundings: &Surroundings, command: &[OsString], log: &Path) -> Result<Measured> {
    let open = || format!("cannot write {}", log.display());
    let printed = OpenOptions::new().create(true).append(true).open(log).with_context(open)?;
    let this = std::env::current_exe().context("cannot tell this program's own path")?;
    let output = Command::new(this)
        .arg("--measure")
        .args(command)
        .envs(surroundings.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(surroundings.folder.as_deref().unwrap_or(Path::new(".")))
        .stdin(Stdio::null())
        .stderr(printed)
        .output()
        .context("cannot start this program again to measure from")?;
    if !output.status.success() {
        let tail = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<_> = tail.lines().rev().take(5).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        bail!("{command:?} failed, {}; its last lines:\n{}", output.status, tail.join("\n"));
    }
    serde_json::from_slice(&output.stdout).context("cannot read what was measured")
}

/// The small instance's whole work: runs `command`, its output to standard error, and prints what
/// it took to standard output. The exit code is the command's.
///
/// # Errors
/// The command is empty or cannot be started or waited for.
fn here(command: &[OsString]) -> Result<ExitCode> {
    let (mut input, mut printed, mut command) = (Stdio::inherit(), Stdio::from(io::stderr()), command);
    while let Some((word, rest)) = command.split_first() {
        let open = || format!("cannot open {}", word.display());
        match word.as_bytes().split_first() {
            Some((b'<', path)) => input = File::open(OsStr::from_bytes(path)).with_context(open)?.into(),
            Some((b'>', path)) => printed = File::create(OsStr::from_bytes(path)).with_context(open)?.into(),
            _ => break,
        }
        command = rest;
    }
    let (program, arguments) = command.split_first().context("--measure needs a command")?;
    let began = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(input)
        .stdout(printed)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let (status, usage) = wait(&child).context("cannot wait for the command")?;
    let wall = began.elapsed().as_secs_f64();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let measured = Measured {
        wall,
        cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_mib: usage.ru_maxrss as f64 / 1024.0,
    };
    println!("{}", serde_json::to_string(&measured)?);
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// The most memory that a process has had since it began, in MiB, as the kernel counts it.
///
/// # Errors
/// It has ended, or the system does not tell.
pub fn peak_mib(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM: the process has ended")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmHWM is no number")?;
    Ok(kib / 1024.0)
}

/// Waits for a child of this process: its wait status and what it used.
fn wait(child: &Child) -> io::Result<(libc::c_int, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are valid for writes of their types for the whole call.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            // SAFETY: `rusage` is plain numbers, for which zeros are valid, and wait4 filled it.
            return Ok((status, unsafe { usage.assume_init() }));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_a_process_is_told() {
        assert!(peak_mib(std::process::id()).unwrap() > 0.5);
    }

    #[test]
    fn waiting_tells_the_exit_code_and_the_processor_time_of_that_child() {
        let mut child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 7"])
            .spawn()
            .unwrap();
        let (status, usage) = wait(&child).unwrap();
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(usage.ru_utime.tv_sec > 0 || usage.ru_utime.tv_usec > 0);
        assert!(usage.ru_maxrss > 0);
        let gone = wait(&child).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ECHILD));
        // The standard library finds its child gone too; this is for the lint against zombies.
        assert!(child.wait().is_err());
    }

    #[test]
    fn times_add_up_and_the_higher_peak_counts() {
        let mut sum = Measured { wall: 1.0, cpu: 2.0, peak_mib: 30.0 };
        sum.add(&Measured { wall: 0.5, cpu: 0.25, peak_mib: 20.0 });
        assert_eq!(sum, Measured { wall: 1.5, cpu: 2.25, peak_mib: 30.0 });
    }
}

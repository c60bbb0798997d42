//! `proxy`: a slow and faulty way to a storage, for tests and measurements; see [`cinderblock_benches::proxy`].

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cinderblock_benches::proxy::{Faults, Proxy, Settings};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Pass HTTP/1.1 on to a storage, slowly and with faults if wanted, and count the requests.
///
/// Prints its address, and at SIGTERM or SIGINT what it has counted, as JSON; so does a GET of /__counts.
#[derive(Parser)]
struct Arguments {
    /// Where requests go: host and port
    upstream: String,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// How long each request is held, as in 50ms or 1s
    #[arg(long, default_value = "0ms", value_parser = duration)]
    latency: Duration,
    /// Decides which requests meet a fault
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The share of requests whose connection is reset in the middle of a body or before the answer, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    cut: f64,
    /// The share of answers that end early
    #[arg(long, default_value_t = 0.0)]
    truncate: f64,
    /// The share of requests that are answered 500, 503 or 429
    #[arg(long, default_value_t = 0.0)]
    refuse: f64,
    /// The share of requests that are held for up to --delay-for
    #[arg(long, default_value_t = 0.0)]
    delay: f64,
    /// See --delay
    #[arg(long, default_value = "1s", value_parser = duration)]
    delay_for: Duration,
    /// Write a line to standard error for each request
    #[arg(long)]
    log: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 50ms or 1s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_millis(u64::from(number) * unit))
}

fn main() -> Result<()> {
    let Arguments { upstream, listen, latency, seed, cut, truncate, refuse, delay, delay_for, log } =
        Arguments::parse();
    let rates = [cut, truncate, refuse, delay];
    ensure!(rates.iter().all(|rate| (0.0..=1.0).contains(rate)), "a share is a number from 0 to 1");
    ensure!(rates.iter().sum::<f64>() <= 1.0, "all shares together are at most 1");
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("can't wait for signals")?;
    let faults = Faults { seed, cut, truncate, refuse, delay, delay_for };
    let proxy = Proxy::start(&listen, Settings { upstream, latency, faults, log, watch: String::new() })
        .with_context(|| format!("can't listen at {listen}"))?;
    println!("{}", proxy.address());
    signals.forever().next();
    println!("{}", serde_json::to_string(&proxy.counts())?);
    Ok(())
}

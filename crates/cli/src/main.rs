//! The `cinderblock` command: backs up block volumes into a deduplicating repository, and restores them.
//!
//! Exit status: 0 for success; 1 for a failure, damage that was found included; 2 for arguments that make no sense; 130 and
//! 143 after SIGINT and SIGTERM; 141 where a restore's standard output was closed before its end.

mod arguments;
mod commands;
mod context;
mod failure;
mod output;
mod progress;
mod secrets;
mod signals;
mod streams;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::context::Context;
use crate::signals::Signals;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::report_arguments(&error),
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return failure::report(&error, None),
    };
    let context = Context::new(&arguments.options, &signals);
    match commands::run(&arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, signals.received()),
    }
}

//! What commands work with, from the options of every command.

use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use cinderblock_backend::{Backend, Error as BackendError, Limited, Line};
use cinderblock_pipeline::{Control, Engine, Settings};
use cinderblock_remote::{Error as RemoteError, Place};
use cinderblock_store::{Error as StoreError, OpenOptions, Repository};
use serde::Serialize;

use crate::arguments::Options;
use crate::failure::Usage;
use crate::output;
use crate::progress::{Display, Phase, Spinner};
use crate::secrets::Sources;
use crate::signals::Signals;

/// Threads that wait for requests, unless it is said how many.
const MOST_WAITING: usize = 16;

/// The options of every command, and the signals that ask to stop.
#[derive(Debug)]
pub struct Context<'a> {
    options: &'a Options,
    signals: &'a Signals,
    /// What the limits bound together, however many repositories are open.
    line: OnceLock<Arc<Line>>,
}

impl<'a> Context<'a> {
    pub fn new(options: &'a Options, signals: &'a Signals) -> Self {
        Self { options, signals, line: OnceLock::new() }
    }

    pub fn json(&self) -> bool {
        self.options.json
    }

    /// Where the repository is.
    pub fn place(&self) -> Result<&Place, Usage> {
        let place = self.options.repo.as_ref();
        place.ok_or_else(|| {
            Usage("no repository given: use --repo DIR or --repo URL, or set CINDERBLOCK_REPO".to_owned())
        })
    }

    /// Opens the repository.
    pub fn repository(&self) -> anyhow::Result<Repository> {
        self.open(self.place()?, self.options.memory / 4, self.keys())
    }

    /// Opens the repository, and another one beside it; they share the memory of one.
    pub fn two_repositories(&self, other: &Place, keys: Sources) -> anyhow::Result<(Repository, Repository)> {
        let memory = self.options.memory / 8;
        Ok((self.open(self.place()?, memory, self.keys())?, self.open(other, memory, keys)?))
    }

    /// Opens the repository at a place.
    pub fn repository_at(&self, place: &Place, keys: Sources) -> anyhow::Result<Repository> {
        self.open(place, self.options.memory / 4, keys)
    }

    /// The storage of a new repository; a folder is made where there is none.
    pub fn new_storage(&self) -> anyhow::Result<Arc<dyn Backend>> {
        let storage = cinderblock_remote::create(self.place()?, &cinderblock_remote::Settings::default())?;
        Ok(self.limited(storage))
    }

    /// The storage within the limits that were given, if any were.
    pub fn limited(&self, storage: Arc<dyn Backend>) -> Arc<dyn Backend> {
        let (upload, download) = (self.options.limit_upload, self.options.limit_download);
        if upload.is_none() && download.is_none() {
            return storage;
        }
        let line = self.line.get_or_init(|| Arc::new(Line::new(upload, download)));
        Arc::new(Limited::new(storage, Arc::clone(line)))
    }

    /// What opens the repository.
    pub fn keys(&self) -> Sources<'_> {
        self.options.keys.sources()
    }

    fn open(&self, place: &Place, memory_bytes: usize, keys: Sources) -> anyhow::Result<Repository> {
        let cache_folder = self.cache_folder()?;
        let storage = match cinderblock_remote::open(place, &cinderblock_remote::Settings::default()) {
            Err(RemoteError::Backend(BackendError::Folder { source, .. })) if source.kind() == ErrorKind::NotFound => {
                return Err(StoreError::NotARepository { location: place.to_string() }.into());
            }
            opened => opened?,
        };
        let options = OpenOptions { memory_bytes, ..OpenOptions::new(cache_folder) };
        let repository = keys.open(self.limited(storage), options)?;
        self.detail(|| format!("repository {} at {}", repository.id(), repository.backend().location()));
        self.detail(|| format!("index in {}", repository.index_folder().display()));
        Ok(repository)
    }

    fn cache_folder(&self) -> Result<PathBuf, Usage> {
        if let Some(folder) = &self.options.cache_dir {
            return Ok(folder.clone());
        }
        // The XDG base directory specification: a relative path is to be ignored.
        let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        let nowhere = || Usage("no place for the index: use --cache-dir DIR, or set HOME".to_owned());
        Ok(caches.ok_or_else(nowhere)?.join("cinderblock"))
    }

    /// Starts the worker threads.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        let engine = Engine::new(self.settings_beside_repository())?;
        self.detail(|| format!("{} threads", engine.settings().threads));
        Ok(engine)
    }

    /// How much of the machine an operation without a repository may use.
    pub fn settings(&self) -> Settings {
        let threads = self.options.threads.unwrap_or(Settings::default().threads);
        Settings { threads, memory_bytes: self.options.memory }
    }

    /// The same beside a repository, which has a part of the memory.
    pub fn settings_beside_repository(&self) -> Settings {
        let settings = self.settings();
        Settings { memory_bytes: settings.memory_bytes - settings.memory_bytes / 4, ..settings }
    }

    /// The same for work with so many requests in flight, of which each keeps a thread waiting: more threads than the processor has
    /// any use for, unless it was said how many.
    pub fn waiting_for(&self, requests: usize, settings: Settings) -> Settings {
        match self.options.threads {
            Some(_) => settings,
            None => Settings { threads: settings.threads.max(requests.min(MOST_WAITING)), ..settings },
        }
    }

    /// Control of an operation that stops cleanly at a signal.
    pub fn control(&self) -> Control {
        Control { cancel: self.signals.stop_cleanly(), ..Control::default() }
    }

    /// Control of an operation that leaves nothing behind, wherever a signal ends the process.
    pub fn control_without_signals(&self) -> Control {
        Control::default()
    }

    /// Shows the progress of an operation while the result lives, if there is anybody to see it.
    pub fn show_progress(&self, control: &Control, phase: Phase) -> Option<Display> {
        let wanted = !self.options.quiet && !self.options.json;
        wanted.then(|| Display::start(Arc::clone(&control.progress), phase)).flatten()
    }

    /// A line that says what is going on, if there is anybody to see it.
    pub fn spinner(&self) -> Option<Spinner> {
        let wanted = !self.options.quiet && !self.options.json;
        wanted.then(Spinner::start).flatten()
    }

    /// Answers: the JSON document or, to people, the text.
    pub fn answer(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.options.json { output::json(document) } else { output::text(&text()) }
    }

    /// The same where the text only sums up what was done, which `--quiet` spares.
    pub fn summary(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.options.quiet && !self.options.json { Ok(()) } else { self.answer(document, text) }
    }

    /// Sums up on standard error, because standard output carries data.
    pub fn summary_aside(&self, text: impl FnOnce() -> String) {
        if !self.options.quiet {
            output::note(&text());
        }
    }

    /// Says on standard error what only `--verbose` asks for.
    pub fn detail(&self, text: impl FnOnce() -> String) {
        if self.options.verbose && !self.options.quiet {
            output::note(&text());
        }
    }
}

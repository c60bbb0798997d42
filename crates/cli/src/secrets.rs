//! Passphrases and key files: where they come from. They are wiped when they have been used, and no message shows them.

use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions as FileOptions};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use cinderblock_backend::Backend;
use cinderblock_store::{Error as StoreError, OpenOptions, Repository, Secret};
use zeroize::Zeroizing;

use crate::failure::Usage;

/// More is neither a passphrase nor a key file.
const MAX_BYTES: u64 = 4097;

/// Where a secret may come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    pub passphrase_file: Option<&'a Path>,
    pub passphrase_command: Option<&'a str>,
    pub key_file: Option<&'a Path>,
    /// Environment variable with the passphrase.
    pub variable: &'static str,
    /// The options, for messages.
    pub options: &'static str,
}

impl Sources<'_> {
    /// The secret that was given, without asking anybody. None where there is none.
    pub fn given(&self) -> anyhow::Result<Option<Secret>> {
        if self.options_given().iter().filter(|given| **given).count() > 1 {
            return Err(Usage(format!("give only one of {}", self.options)).into());
        }
        if let Some(path) = self.key_file {
            return read_key_file(path).map(Some);
        }
        let passphrase = if let Some(path) = self.passphrase_file {
            let file = File::open(path).with_context(|| format!("the passphrase file {}", path.display()))?;
            first_line(file).with_context(|| format!("the passphrase file {}", path.display()))?
        } else if let Some(command) = self.passphrase_command {
            of_command(command)?
        } else if let Some(text) = self.in_environment() {
            Zeroizing::new(text.into_vec())
        } else {
            return Ok(None);
        };
        Ok(Some(Secret::passphrase(passphrase)?))
    }

    /// Whether anything was given to open a repository with, be it right or wrong.
    pub fn are_given(&self) -> bool {
        self.options_given().contains(&true) || self.in_environment().is_some()
    }

    /// Which of the options were given.
    fn options_given(&self) -> [bool; 3] {
        [self.passphrase_file.is_some(), self.passphrase_command.is_some(), self.key_file.is_some()]
    }

    /// The passphrase in the environment.
    fn in_environment(&self) -> Option<OsString> {
        env::var_os(self.variable).filter(|text| !text.is_empty())
    }

    /// The secret that was given, or a passphrase that somebody types.
    fn given_or_asked(&self, what: &str) -> anyhow::Result<Option<Secret>> {
        match self.given()? {
            Some(secret) => Ok(Some(secret)),
            None if has_terminal() => Ok(Some(Secret::passphrase(ask(what)?)?)),
            None => Ok(None),
        }
    }

    /// A new secret: one that was given, a key file that is made where there is none, or a passphrase that somebody types twice.
    pub fn new_secret(&self) -> anyhow::Result<Secret> {
        if let Some(path) = self.key_file
            && !path.try_exists().with_context(|| format!("the key file {}", path.display()))?
        {
            // Two of the options are refused before anything is made.
            if self.passphrase_file.is_some() || self.passphrase_command.is_some() {
                return Err(Usage(format!("give only one of {}", self.options)).into());
            }
            return make_key_file(path);
        }
        if let Some(secret) = self.given()? {
            return Ok(secret);
        }
        if !has_terminal() {
            let (options, variable) = (self.options, self.variable);
            return Err(Usage(format!("no passphrase and no key file given: use {options}, or set {variable}")).into());
        }
        let first = ask("new passphrase")?;
        if first != ask("the same again")? {
            anyhow::bail!("the two passphrases are not the same");
        }
        Ok(Secret::passphrase(first)?)
    }

    /// Opens a repository, with the secret that was given or that somebody types, where it needs one.
    pub fn open(&self, storage: Arc<dyn Backend>, mut options: OpenOptions) -> anyhow::Result<Repository> {
        options.secret = self.given()?;
        match Repository::open(Arc::clone(&storage), &options) {
            Err(StoreError::SecretMissing { location }) => {
                let Some(secret) = self.given_or_asked(&format!("passphrase of {location}"))? else {
                    let advice = format!("use {}, or set {}", self.options, self.variable);
                    return Err(anyhow::Error::new(StoreError::SecretMissing { location }).context(advice));
                };
                options.secret = Some(secret);
                Ok(Repository::open(storage, &options)?)
            }
            opened => Ok(opened?),
        }
    }
}

/// Whether there is anybody to ask: standard input may carry a volume, and its answers come from the terminal itself.
fn has_terminal() -> bool {
    std::io::stderr().is_terminal()
}

fn ask(what: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let text = rpassword::prompt_password(format!("{what}: ")).context("reading a passphrase from the terminal")?;
    Ok(Zeroizing::new(text.into_bytes()))
}

/// The first line, without its end.
fn first_line(reader: impl Read) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let bytes = read_all(reader)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
}

fn read_all(reader: impl Read) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        anyhow::bail!("it is longer than any passphrase or key file");
    }
    Ok(bytes)
}

fn of_command(command: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let failed = || "the command that prints the passphrase";
    let mut shell = Command::new("/bin/sh");
    let mut child = shell.arg("-c").arg(command).stdout(Stdio::piped()).spawn().with_context(failed)?;
    let line = child.stdout.take().context("no output").and_then(first_line);
    let status = child.wait().with_context(failed)?;
    if !status.success() {
        anyhow::bail!("{} failed: {status}", failed());
    }
    line.with_context(failed)
}

fn read_key_file(path: &Path) -> anyhow::Result<Secret> {
    let what = || format!("the key file {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            anyhow::bail!(
                "there is no key file {}: name the one that the repository was made with, or a copy of it",
                path.display()
            )
        }
        opened => opened.with_context(what)?,
    };
    Secret::key_file(&read_all(file).with_context(what)?).with_context(what)
}

/// Makes a key file that only its owner can read. It is durable when this returns.
pub fn make_key_file(path: &Path) -> anyhow::Result<Secret> {
    let what = || format!("the key file {}", path.display());
    let secret = Secret::generate_key_file()?;
    let text = secret.key_file_text().unwrap_or_default();
    let mut file = match FileOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!("{} exists already, and may be needed: choose another name", what())
        }
        opened => opened.with_context(what)?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    written.and_then(|()| File::open(parent)?.sync_all()).with_context(what)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_the_first_line_without_its_end() -> anyhow::Result<()> {
        for text in ["hush hush", "hush hush\n", "hush hush\r\n", "hush hush\nmore\n"] {
            assert_eq!(first_line(text.as_bytes())?.as_slice(), b"hush hush", "{text:?}");
        }
        assert_eq!(first_line(&b" \xff \n"[..])?.as_slice(), b" \xff ");
        assert!(first_line(&vec![b'x'; 4098][..]).is_err());
        Ok(())
    }

    #[test]
    fn a_command_has_to_succeed() {
        assert_eq!(of_command("printf 'a b\\n'").ok().as_deref().map(Vec::as_slice), Some(&b"a b"[..]));
        assert!(of_command("echo hush; exit 3").is_err());
        assert!(of_command("yes").is_err());
    }
}

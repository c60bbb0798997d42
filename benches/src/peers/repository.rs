//! [`Repository`]: a tool's repository in a folder of its own, and its measured commands.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::course::Subject;
use super::recipe::{Recipe, Restore, Verify};
use crate::command::bytes_in;
use crate::measure::{self, Measured, Surroundings};

/// A repository of one tool.
#[derive(Debug)]
pub struct Repository {
    recipe: &'static Recipe,
    program: PathBuf,
    folder: PathBuf,
    /// What was backed up, in order, and as what volume.
    backups: Vec<(PathBuf, String)>,
    /// Where the tool puts a restored volume, below the folder that it restores into.
    restored_at: Option<PathBuf>,
}

/// What the names in a command's words stand for, besides the repository's own folders.
#[derive(Debug, Clone, Copy, Default)]
struct Names<'a> {
    /// The number of a backup, from 0.
    backup: Option<usize>,
    target: Option<&'a Path>,
    folder: Option<&'a Path>,
}

impl Repository {
    /// Makes a new repository in the new folder `folder`, with the tool's program `program`.
    ///
    /// # Errors
    /// The folder exists, or a command fails.
    pub fn init(recipe: &'static Recipe, program: &Path, folder: &Path) -> Result<Self> {
        let (program, folder) = (program.to_owned(), folder.to_owned());
        let new = Self { recipe, program, folder, backups: Vec::new(), restored_at: None };
        for part in ["", "cache", "home"] {
            let path = new.folder.join(part);
            fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let none = Names::default();
        for path in recipe.folders {
            let path = PathBuf::from(new.fill(path, &none)?);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        for (path, content) in recipe.files {
            let path = PathBuf::from(new.fill(path, &none)?);
            fs::write(&path, new.fill(content, &none)?.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        for words in recipe.init {
            new.run(words, &none)?;
        }
        Ok(new)
    }

    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.recipe.name
    }

    /// The version that the tool tells: the first word that it prints with a digit, a dot and a digit.
    ///
    /// # Errors
    /// It can't be started, or prints nothing like that.
    pub fn version(&self) -> Result<String> {
        let words = self.recipe.version;
        let arguments = words.iter().map(|word| self.fill(word, &Names::default())).collect::<Result<Vec<_>>>()?;
        let printed = self.printed(&arguments)?;
        version_in(&printed).with_context(|| format!("{} {} prints no version", self.recipe.name, words.join(" ")))
    }

    /// All that the tool prints, whether it succeeds or not.
    fn printed(&self, arguments: &[OsString]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .envs(self.environment()?)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Runs the tool with further arguments, in the environment of its recipe.
    ///
    /// # Errors
    /// The command fails.
    pub fn run_words(&self, words: &[&str]) -> Result<Measured> {
        let mut command = vec![self.recipe.program];
        command.extend(words);
        self.run(&command, &Names::default())
    }

    fn run(&self, words: &[&str], names: &Names<'_>) -> Result<Measured> {
        let mut command = Vec::with_capacity(words.len());
        let mut named = false;
        for &word in words {
            if !named && word == self.recipe.program {
                named = true;
                command.push(self.program.clone().into());
                continue;
            }
            let word = match word.split_once('?') {
                Some((text, word)) if self.knows(words, text)? => word,
                Some(_) => continue,
                None => word,
            };
            command.push(self.fill(word, names)?);
        }
        let surroundings = Surroundings { environment: self.environment()?, folder: names.folder.map(Path::to_owned) };
        measure::run_in(&surroundings, &command, &self.folder.join("log"))
    }

    /// Whether the help of the subcommand of `words` has the text `text`.
    fn knows(&self, words: &[&str], text: &str) -> Result<bool> {
        let subcommand = words.iter().skip_while(|word| **word != self.recipe.program).nth(1);
        let arguments: Vec<_> = subcommand.copied().into_iter().chain(["--help"]).map(OsString::from).collect();
        Ok(self.printed(&arguments)?.contains(text))
    }

    fn environment(&self) -> Result<Vec<(OsString, OsString)>> {
        let variable = |(name, value): &(&str, &str)| Ok((name.into(), self.fill(value, &Names::default())?));
        self.recipe.environment.iter().map(variable).collect()
    }

    /// `text` with its names replaced.
    fn fill(&self, text: &str, names: &Names<'_>) -> Result<OsString> {
        let mut filled = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').with_context(|| format!("a name in {text:?} has no end"))?;
            filled.extend_from_slice(before.as_bytes());
            filled.extend_from_slice(self.value(name, names)?.as_bytes());
            rest = after;
        }
        filled.extend_from_slice(rest.as_bytes());
        Ok(OsString::from_vec(filled))
    }

    fn value(&self, name: &str, names: &Names<'_>) -> Result<OsString> {
        let missing = || format!("the command of {} has no {name}", self.recipe.name);
        let number = || names.backup.with_context(missing);
        let backup = || self.backups.get(number()?).with_context(missing);
        Ok(match name {
            "repository" | "cache" | "home" => self.folder.join(name).into(),
            "target" => names.target.with_context(missing)?.into(),
            "folder" => names.folder.with_context(missing)?.into(),
            "backup" => number()?.to_string().into(),
            "uuid" => format!("22222222-2222-4222-8222-{:012}", number()?).into(),
            "source" => backup()?.0.clone().into(),
            "volume" => backup()?.1.clone().into(),
            other => anyhow::bail!("{}: there is nothing by the name {{{other}}}", self.recipe.name),
        })
    }

    /// Restores into a folder beside `target`; with `over`, onto the file `target`, where the tool will put the volume. The
    /// volume is the file `target` afterwards.
    fn restore_into(&mut self, words: &[&str], backup: usize, target: &Path, over: bool) -> Result<Measured> {
        let folder = target.with_extension("folder");
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if over {
            let place = folder.join(self.restored_at.as_deref().context("it was not restored to a new file before")?);
            fs::create_dir_all(place.parent().unwrap_or(&folder))?;
            fs::rename(target, place)?;
        }
        let measured = self.run(words, &Names { backup: Some(backup), folder: Some(&folder), target: None })?;
        let mut files = Vec::new();
        files_below(&folder, &mut files)?;
        ensure!(files.len() == 1, "{} restored {} files instead of one", self.recipe.name, files.len());
        fs::rename(&files[0], target)?;
        self.restored_at = Some(files[0].strip_prefix(&folder)?.to_owned());
        fs::remove_dir_all(&folder)?;
        Ok(measured)
    }
}

impl Subject for Repository {
    fn backup(&mut self, source: &Path, volume: &str) -> Result<Measured> {
        let backup = Some(self.backups.len());
        self.backups.push((source.to_owned(), volume.to_owned()));
        self.run(self.recipe.backup, &Names { backup, ..Names::default() })
    }

    fn restore(&mut self, backup: usize, target: &Path) -> Result<Measured> {
        match self.recipe.restore {
            Restore::File { new, .. } => {
                self.run(new, &Names { backup: Some(backup), target: Some(target), folder: None })
            }
            Restore::Folder(words) => self.restore_into(words, backup, target, false),
        }
    }

    fn restore_over(&mut self, backup: usize, target: &Path) -> Result<Option<Measured>> {
        match self.recipe.restore {
            Restore::File { over: None, .. } => Ok(None),
            Restore::File { over: Some(over), .. } => {
                self.run(over, &Names { backup: Some(backup), target: Some(target), folder: None }).map(Some)
            }
            Restore::Folder(words) => self.restore_into(words, backup, target, true).map(Some),
        }
    }

    fn verify(&mut self) -> Result<Option<Measured>> {
        match self.recipe.verify {
            Verify::Never => Ok(None),
            Verify::All(words) => self.run(words, &Names::default()).map(Some),
            Verify::Each(words) => {
                let mut all = Measured::default();
                for backup in 0..self.backups.len() {
                    all.add(&self.run(words, &Names { backup: Some(backup), ..Names::default() })?);
                }
                Ok(Some(all))
            }
        }
    }

    fn stored_bytes(&self) -> Result<u64> {
        bytes_in(&self.folder.join("repository"))
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The command `name` in one of the folders of `PATH`.
#[must_use]
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The first word with a digit, a dot and a digit, or else the first that begins with a digit.
fn version_in(printed: &str) -> Option<String> {
    let words = printed.split(|c: char| c.is_whitespace() || "\"'(),:-".contains(c));
    let words: Vec<_> = words.map(|word| word.strip_prefix('v').unwrap_or(word)).collect();
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let dotted = |word: &&str| {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        digit(word) && rest.strip_prefix('.').is_some_and(digit)
    };
    let found = words.iter().copied().find(dotted).or_else(|| words.iter().copied().find(|word| digit(word)));
    found.map(|word| word.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::table::RESTIC;

    fn repository() -> Repository {
        let backups = vec![("/v/a.img".into(), "a".to_owned()), ("/v/b.img".into(), "b".to_owned())];
        let (program, folder) = ("/opt/restic".into(), "/work/restic".into());
        Repository { recipe: &RESTIC, program, folder, backups, restored_at: None }
    }

    #[test]
    fn names_are_replaced_and_unknown_ones_refused() {
        let repository = repository();
        let names = Names { backup: Some(1), target: Some(Path::new("/t")), folder: None };
        let fill = |text| repository.fill(text, &names).map(|word| word.into_string().unwrap());
        assert_eq!(fill("<{source}").unwrap(), "</v/b.img");
        assert_eq!(fill("b{backup} of {volume} in {repository}/x").unwrap(), "b1 of b in /work/restic/repository/x");
        assert_eq!(fill("{uuid}{target}").unwrap(), "22222222-2222-4222-8222-000000000001/t");
        for (wrong, says) in
            [("{sauce}", "nothing by the name {sauce}"), ("{source", "no end"), ("{folder}", "no folder")]
        {
            let message = fill(wrong).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn versions_are_found_in_what_tools_print() {
        for (printed, version) in [
            ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", "0.14.0"),
            ("borg 1.2.4\n", "1.2.4"),
            ("casync 2\n", "2"),
            ("bupstash-0.12.0\n", "0.12.0"),
            ("[DEBUG] at main( zbackup.cc:19 ): ZBackup version 1.4", "1.4"),
            ("{\n \"version\": \"0.17.0\"}", "0.17.0"),
            ("rustic v0.11.4", "0.11.4"),
            ("INFO: Benji version: 0.17.0.", "0.17.0"),
        ] {
            assert_eq!(version_in(printed).unwrap_or_default(), version);
        }
        assert_eq!(version_in("none here"), None);
    }
}

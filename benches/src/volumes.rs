//! The volumes to measure on: a family of similar ones.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::extents::{UNIT, copy_sparse};
use crate::sample::Random;

/// File names of a family, in the order in which they are backed up: a server's first image, a
/// clone with software added, that clone a day later, another clone with a database, and an
/// independent installation.
pub const NAMES: [&str; 5] = ["golden.img", "web.img", "web-day2.img", "db.img", "other.img"];

/// The five volumes in `folder`.
///
/// # Errors
/// One of them is missing.
pub fn in_folder(folder: &Path) -> Result<[PathBuf; 5]> {
    let paths = NAMES.map(|name| folder.join(name));
    for path in &paths {
        ensure!(path.is_file(), "there is no volume {}", path.display());
    }
    Ok(paths)
}

/// Those [in a folder](in_folder), or where there is none, ones that are [made](make) in `work`, which it says on standard error.
///
/// # Errors
/// Those of the two.
pub fn given_or_made(folder: Option<&Path>, work: &Path) -> Result<[PathBuf; 5]> {
    match folder {
        Some(folder) => in_folder(folder),
        None => {
            eprintln!("making volumes of this system's files");
            make(work)
        }
    }
}

/// Bytes of a volume that is made: 2 GiB.
const VOLUME: u64 = 2 << 30;

/// Makes a family in `folder`, out of this system's own files: sparse ext4 volumes of 2 GiB, about
/// 2 GB of data in all. Needs `mke2fs`, `debugfs` and `e2fsck` (Debian: e2fsprogs), but not root.
///
/// # Errors
/// A program is missing or fails, a file cannot be written, or the system's files are too few.
pub fn make(folder: &Path) -> Result<[PathBuf; 5]> {
    let paths = NAMES.map(|name| folder.join(name));
    let [golden, web, day2, db, other] = &paths;
    let files = Files::of_this_system()?;

    let stage = folder.join("stage");
    make_ext4(&stage, golden, files.golden().iter())?;
    // The same files in another order, so that they lie elsewhere, and a third of them missing.
    let independent = files.golden().iter().rev().enumerate().filter(|(n, _)| n % 3 != 0);
    make_ext4(&stage, other, independent.map(|(_, path)| path))?;

    copy_sparse(golden, web)?;
    let mut edits = Edits::in_folder(&stage)?;
    for (number, path) in files.added().iter().enumerate() {
        edits.add(path, &format!("added{number}"));
    }
    edits.apply(web)?;

    copy_sparse(web, day2)?;
    let mut edits = Edits::in_folder(&stage)?;
    (0..files.added().len()).step_by(4).for_each(|number| edits.remove(&format!("added{number}")));
    let log = edits.file("access.log", |file| {
        (0..200_000u32).try_for_each(|i| {
            writeln!(file, "10.0.{}.{} - - \"GET /item/{i} HTTP/1.1\" 200 {}", i % 250, i % 13, i * 7919 % 65536)
        })
    })?;
    edits.add(&log, "access.log");
    let upload = edits.file("upload.bin", |file| {
        let mut bytes = vec![0; 20_000_000];
        Random::new(20).fill(&mut bytes);
        file.write_all(&bytes)
    })?;
    edits.add(&upload, "upload.bin");
    edits.apply(day2)?;

    copy_sparse(golden, db)?;
    let mut edits = Edits::in_folder(&stage)?;
    let rows = edits.file("rows.db", |file| {
        let (mut random, mut body) = (Random::new(30), [0; 400]);
        (0..200_000).try_for_each(|row| {
            random.fill(&mut body);
            write!(file, "row {row}\0")?;
            file.write_all(&body)
        })
    })?;
    edits.add(&rows, "rows.db");
    edits.apply(db)?;
    fs::remove_dir_all(&stage)?;
    Ok(paths)
}

/// This system's files that volumes are made of.
struct Files {
    paths: Vec<PathBuf>,
    /// How many of them are the golden volume's.
    golden: usize,
}

impl Files {
    /// Most bytes of the golden volume: 400 MB.
    const GOLDEN: u64 = 400_000_000;
    /// Most bytes that its first clone adds: 150 MB.
    const ADDED: u64 = 150_000_000;
    /// Larger files are left out, so that no single one makes a volume: 32 MB.
    const LARGEST: u64 = 32_000_000;

    fn of_this_system() -> Result<Self> {
        let mut found = Vec::new();
        for folder in ["/usr/bin", "/usr/lib", "/usr/share"] {
            list(Path::new(folder), &mut found)?;
        }
        found.retain(|(path, length)| *length <= Self::LARGEST && File::open(path).is_ok());
        let total: u64 = found.iter().map(|(_, length)| length).sum();
        ensure!(
            total >= 50_000_000,
            "/usr holds only {total} bytes of files to make volumes of: give some with --volumes"
        );
        let golden_bytes = Self::GOLDEN.min(total * 7 / 10);
        let (mut paths, mut golden, mut bytes) = (Vec::new(), 0, 0);
        for (path, length) in found {
            bytes += length;
            if bytes > golden_bytes + Self::ADDED {
                break;
            }
            paths.push(path);
            if bytes <= golden_bytes {
                golden = paths.len();
            }
        }
        Ok(Self { paths, golden })
    }

    fn golden(&self) -> &[PathBuf] {
        &self.paths[..self.golden]
    }

    fn added(&self) -> &[PathBuf] {
        &self.paths[self.golden..]
    }
}

/// Adds all regular files below `folder` and their lengths, in order of their names.
fn list(folder: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let context = || format!("cannot list {}", folder.display());
    let mut entries =
        fs::read_dir(folder).with_context(context)?.collect::<Result<Vec<_>, _>>().with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let meta = entry.metadata().with_context(context)?;
        if meta.is_dir() {
            list(&entry.path(), found)?;
        } else if meta.is_file() {
            found.push((entry.path(), meta.len()));
        }
    }
    Ok(())
}

/// Makes a volume with an ext4 file system that holds `files`, 256 to a folder, by way of copies
/// in the folder `stage`.
fn make_ext4<'a>(stage: &Path, volume: &Path, files: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    fs::create_dir(stage).with_context(|| format!("cannot create {}", stage.display()))?;
    for (number, file) in files.enumerate() {
        let folder = stage.join(format!("{:04}", number / 256));
        fs::create_dir_all(&folder)?;
        let copy = folder.join(format!("{number:06}"));
        fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let empty = File::create_new(volume).with_context(|| format!("cannot create {}", volume.display()))?;
    empty.set_len(VOLUME)?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(stage).arg(volume))?;
    fs::remove_dir_all(stage)?;
    check(volume)
}

/// Changes to a volume's root folder, made through `debugfs`, that is without mounting it.
struct Edits {
    folder: PathBuf,
    script: String,
}

impl Edits {
    fn in_folder(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), script: String::new() })
    }

    /// A new file to be added.
    fn file(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let mut file = std::io::BufWriter::new(File::create(&path)?);
        write(&mut file).and_then(|()| file.flush()).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn add(&mut self, file: &Path, name: &str) {
        self.script.push_str(&format!("write \"{}\" {name}\n", file.display()));
    }

    fn remove(&mut self, name: &str) {
        self.script.push_str(&format!("rm {name}\n"));
    }

    fn apply(self, volume: &Path) -> Result<()> {
        let script = self.folder.join("script");
        fs::write(&script, &self.script)?;
        let printed = run(Command::new("debugfs").arg("-w").arg("-f").arg(&script).arg(volume))?;
        // It exits with 0 even where a command failed; then it says more than its version.
        let complaints: Vec<_> = printed.lines().filter(|line| !line.starts_with("debugfs ")).collect();
        ensure!(complaints.is_empty(), "debugfs on {}: {}", volume.display(), complaints.join("; "));
        check(volume)
    }
}

fn check(volume: &Path) -> Result<()> {
    run(Command::new("e2fsck").args(["-f", "-n"]).arg(volume)).map(drop)
}

/// Runs a program that lies in `/usr/sbin` on most systems, which is not on everybody's path;
/// what it printed to standard error.
fn run(command: &mut Command) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .with_context(|| format!("cannot run {} (Debian: install e2fsprogs)", command.get_program().display()))?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed: {printed}");
    Ok(printed)
}

/// Bytes of the volume of [`make_sparse_4t`]: 4 TiB.
pub const SPARSE_4T: u64 = 4 << 40;

/// Makes a new sparse volume of 4 TiB with 2 GiB of data, which compresses to about half, as 2,048
/// pieces of 1 MiB, one somewhere in each 2 GiB, at a multiple of 4 KiB.
///
/// # Errors
/// `path` exists, its file system is too small or has no files of 4 TiB.
pub fn make_sparse_4t(path: &Path) -> Result<()> {
    let context = || format!("cannot make the 4 TiB volume {}", path.display());
    let file = File::create_new(path).with_context(context)?;
    file.set_len(SPARSE_4T).with_context(context)?;
    let pieces = 2048;
    let stride = SPARSE_4T / pieces;
    let mut random = Random::new(4);
    let mut bytes = vec![0; UNIT];
    for piece in 0..pieces {
        random.fill_half_compressible(&mut bytes);
        let within = random.next_u64() % ((stride - UNIT as u64) / 4096) * 4096;
        file.write_all_at(&bytes, piece * stride + within).with_context(context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(volume: &Path, name: &str) -> Vec<u8> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut debugfs = Command::new("debugfs");
        debugfs.env("PATH", format!("{path}:/usr/sbin:/sbin")).args(["-R", &format!("cat {name}")]).arg(volume);
        debugfs.output().unwrap().stdout
    }

    #[test]
    fn a_volume_holds_its_files_and_later_edits() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, volume, file) = (folder.path().join("stage"), folder.path().join("v.img"), folder.path().join("f"));
        fs::write(&file, b"from the system").unwrap();
        make_ext4(&stage, &volume, [file].iter()).unwrap();
        assert_eq!(content(&volume, "0000/000000"), b"from the system");
        let mut edits = Edits::in_folder(&stage).unwrap();
        let added = edits.file("new", |file| file.write_all(b"added")).unwrap();
        edits.add(&added, "new");
        edits.remove("0000/000000");
        edits.apply(&volume).unwrap();
        assert_eq!(content(&volume, "new"), b"added");
        assert_eq!(content(&volume, "0000/000000"), b"");
    }

    #[test]
    fn an_edit_that_fails_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, volume) = (folder.path().join("stage"), folder.path().join("v.img"));
        make_ext4(&stage, &volume, [].iter()).unwrap();
        let mut edits = Edits::in_folder(&stage).unwrap();
        edits.remove("missing");
        let message = edits.apply(&volume).unwrap_err().to_string();
        assert!(message.contains("rm: File not found"), "{message}");
    }

    #[test]
    fn the_4_tib_volume_holds_2_gib_scattered_from_end_to_end() {
        // On a RAM disk where there is one: a disk's file system may not have files of 4 TiB.
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let path = folder.path().join("4t.img");
        make_sparse_4t(&path).unwrap();
        let units = crate::extents::data_units(&File::open(&path).unwrap(), 4096).unwrap();
        assert_eq!(path.metadata().unwrap().len(), SPARSE_4T);
        assert_eq!(units.iter().map(|unit| unit.length as u64).sum::<u64>(), 2 << 30);
        assert!(units[0].offset < SPARSE_4T / 2048 && units[units.len() - 1].offset > SPARSE_4T / 2048 * 2047);
    }
}

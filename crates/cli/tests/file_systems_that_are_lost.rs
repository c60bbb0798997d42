//! A file system whose other end goes, as a network's does with its server: every call on it fails from one moment on. A command ends with a line that
//! says so, and when the file system is back, all is as it was, and the same command works. bindfs stands for the network: to kill it is to lose the
//! server. Skipped, with the reason told, where it is not installed or may not mount.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{MIB, Place, failure, noise, send, text, wait_until};
use serde_json::json;

/// A folder that is seen through another one, as long as the server lives.
struct Share {
    server: Child,
    behind: PathBuf,
    mount: PathBuf,
}

fn serve(behind: &PathBuf, mount: &PathBuf) -> Option<Child> {
    let server = Command::new("bindfs").arg("-f").arg(behind).arg(mount).stderr(Stdio::piped()).spawn();
    let mut server = match server {
        Ok(server) => server,
        Err(error) => {
            println!("skipped: bindfs: {error}");
            return None;
        }
    };
    let marker = mount.join("marker");
    wait_until(|| marker.exists() || server.try_wait().unwrap().is_some());
    if marker.exists() {
        return Some(server);
    }
    let output = server.wait_with_output().unwrap();
    println!("skipped: bindfs: {}", String::from_utf8_lossy(&output.stderr).trim());
    None
}

/// What the kernel says of a call that was under way when the server went, and of every later one.
fn says_that_it_is_lost(line: &str) -> bool {
    line.contains("Software caused connection abort") || line.contains("Transport endpoint is not connected")
}

impl Share {
    /// With a repository in it.
    fn with_repository(place: &Place) -> Option<Self> {
        let (behind, mount) = (place.path("behind"), place.path("share"));
        fs::create_dir(&behind).unwrap();
        fs::create_dir(&mount).unwrap();
        fs::write(behind.join("marker"), "").unwrap();
        fs::create_dir(behind.join("repository")).unwrap();
        let server = serve(&behind, &mount)?;
        std::os::unix::fs::symlink("share/repository", place.repository()).unwrap();
        place.succeed(&["init"]);
        Some(Self { server, behind, mount })
    }

    fn lose(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    fn unmount(&self) {
        let unmount = |program: &str, option: &str| {
            Command::new(program)
                .arg(option)
                .arg(&self.mount)
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|it| it.success())
        };
        let _ = unmount("umount", "--lazy") || unmount("fusermount", "-uz") || unmount("fusermount3", "-uz");
    }

    fn find_again(&mut self) {
        self.unmount();
        self.server = serve(&self.behind, &self.mount).expect("it was mounted before");
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        self.unmount();
    }
}

#[test]
fn a_file_system_that_is_lost_under_a_backup_and_under_a_restore() {
    let place = Place::bare();
    let Some(mut share) = Share::with_repository(&place) else { return };
    let volume = noise(1, 2 * MIB);
    place.file("volume", &volume);
    place.file("new", &noise(2, MIB));
    let id = text(&place.backup("volume", "v"), "backup_id").to_owned();

    let mut writer = place.start_stream("v");
    send(&mut writer, &noise(3, MIB));
    place.wait_for_sessions(1);
    share.lose();
    let line = failure(&writer.wait_with_output().unwrap(), 1);
    assert!(line.contains("the repository's storage failed: can't ") && says_that_it_is_lost(&line), "{line}");
    for command in [&["list"][..], &["verify"], &["gc"], &["restore", &id, "restored"], &["prune", "--keep-last", "1"]]
    {
        let line = place.fail(command, 1);
        assert!(says_that_it_is_lost(&line), "{command:?}: {line}");
    }
    assert!(!place.path("restored").exists());

    share.find_again();
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 1);
    assert!(place.restore(&id) == volume);
    place.backup("new", "v");
    // Behind a network, a collector waits until listings show what there is: not in this test.
    let verified = place.json(&["verify", "--read-data"]);
    assert_eq!((&verified["clean"], &verified["backups"]), (&json!(true), &json!(2)));
}

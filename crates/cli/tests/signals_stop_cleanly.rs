//! SIGINT and SIGTERM leave no backup, no half-written file, and a repository that works.

mod common;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use common::{MIB, Place, failure, noise, number, send, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_backup_from_a_slow_pipe() {
    for (kind, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let volume = noise(1, 3 * MIB);
        let mut stopped = place.start_stream("stopped");
        send(&mut stopped, &volume);
        place.wait_for_sessions(1);
        let mut other = place.start_stream("other");
        send(&mut other, &volume[..MIB]);
        place.wait_for_sessions(2);

        signal(&stopped, kind);
        // Its standard input stays open: nothing but the signal ends it.
        let pipe = stopped.stdin.take();
        let output = stopped.wait_with_output().unwrap();
        drop(pipe);
        let line = failure(&output, status);
        assert!(line.contains("no backup was made") && line.contains("stopped"), "{line}");
        assert_eq!(place.json(&["list"]), json!([]));

        send(&mut other, &volume[MIB..]);
        let output = other.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listed = place.json(&["list"]);
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert!(place.restore(text(&listed[0], "backup_id")) == volume);
        assert_eq!(place.objects("sessions").len(), 0);

        place.file("volume", &volume);
        let again = place.backup("volume", "stopped");
        assert!(place.restore(text(&again, "backup_id")) == volume);
        assert_eq!(place.json(&["verify", "--read-data"])["clean"], json!(true));
    }
}

#[test]
fn a_restore_leaves_the_whole_target_or_none() {
    let place = Place::new();
    // Few chunks, many times: little to store, much to write.
    let volume = noise(1, MIB).repeat(64);
    place.file("volume", &volume);
    let backup = place.backup("volume", "v");
    fs::create_dir(place.path("targets")).unwrap();
    let mut stopped = 0;
    for delay in [1, 5, 10, 15, 20, 30, 40, 60] {
        let child = place.command(&["restore", text(&backup, "backup_id"), "targets/new"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, Signal::INT);
        let output = child.wait_with_output().unwrap();
        let left: Vec<_> = fs::read_dir(place.path("targets")).unwrap().collect();
        if output.status.success() {
            assert_eq!(left.len(), 1);
            assert!(fs::read(place.path("targets/new")).unwrap() == volume);
            fs::remove_file(place.path("targets/new")).unwrap();
        } else if output.status.code() == Some(130) {
            assert_eq!(left.len(), 0, "{left:?}");
            stopped += 1;
        } else {
            // The signal came before the program had set itself up for it.
            assert_eq!((output.status.code(), left.len()), (None, 0), "{output:?}");
        }
    }
    assert!(stopped > 0);
}

#[test]
fn a_restore_that_nobody_reads() {
    let place = Place::new();
    place.file("volume", &noise(1, 2 * MIB));
    let backup = place.backup("volume", "v");
    for (kind, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = place.command(&["restore", text(&backup, "backup_id"), "-"]).spawn().unwrap();
        // It is at work once the first byte came; then the pipe fills up.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        signal(&child, kind);
        assert_eq!(child.wait().unwrap().code(), Some(status));
    }
}

#[test]
fn what_a_killed_backup_has_stored_is_not_lost() {
    let place = Place::new();
    // More than one pack, so that some are stored before the end.
    let volume = noise(1, 48 * MIB);
    let mut killed = place.start_stream("killed");
    send(&mut killed, &volume);
    // A name that begins with a dot is a pack that is still being written.
    let is_whole = |path: &PathBuf| !path.file_name().unwrap().to_str().unwrap().starts_with('.');
    common::wait_until(|| place.objects("packs").iter().any(is_whole));
    signal(&killed, Signal::KILL);
    killed.wait().unwrap();
    assert_eq!(place.json(&["list"]), json!([]));

    place.succeed(&["-q", "rebuild-index"]);
    place.file("volume", &volume);
    let backup = place.backup("volume", "again");
    assert!(number(&backup, "new_bytes") < volume.len() as u64, "{backup}");
    assert!(place.restore(text(&backup, "backup_id")) == volume);
}

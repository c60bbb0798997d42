//! What the processes' ends and the repositories have to be like.

use std::fs;

use serde_json::Value;

use super::deeds::{Deed, Meanwhile, World};
use super::model::{self, Listed, State};
use super::process::Ended;
use crate::common::{number, text};

impl World {
    /// Takes in what a process said; panics where it said what must not be.
    pub fn judge(&mut self, ended: &Ended, meanwhile: &Meanwhile) {
        let told = || format!("{:?}: {}: {}{}", ended.deed, ended.status, ended.stdout, ended.stderr);
        assert!(!ended.stderr.contains("panicked") || matches!(ended.deed, Deed::CollectAtOnce { .. }), "{}", told());
        self.look_at_target(&ended.deed, ended.status.success());
        if ended.killed() {
            if let Deed::Delete { ids, away } = &ended.deed {
                self.may_be_gone(ids, *away);
            }
            return;
        }
        let document =
            || -> Value { serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", told())) };
        let succeeded = ended.status.success();
        // A session that was declared ended, or a file that was removed while it was being written.
        let hurried = || {
            let lost_file = ended.stderr.contains("can't finish") && ended.stderr.contains("No such file");
            meanwhile.impatient && (ended.stderr.contains("a garbage collector gave up") || lost_file)
        };
        match &ended.deed {
            Deed::Backup { id } if succeeded => {
                let created_at = text(&document(), "created_at").parse().unwrap();
                let known = self.here.0.get_mut(id).unwrap();
                (known.state, known.created_at) = (State::Made, Some(created_at));
            }
            Deed::Backup { id } => {
                assert!(hurried(), "{}", told());
                if ended.stderr.contains("a garbage collector gave up") {
                    self.here.set(id, State::Gone);
                }
            }
            Deed::Restore { id, .. } | Deed::Overwrite { id, .. } => {
                assert!(succeeded || self.is_going(id, meanwhile), "{}", told());
            }
            Deed::Protect { id } => assert!(succeeded || hurried() || self.is_going(id, meanwhile), "{}", told()),
            Deed::Delete { ids, away } if succeeded => {
                let model = if *away { &mut self.away } else { &mut self.here };
                ids.iter().for_each(|id| model.set(id, State::Gone));
            }
            Deed::Delete { ids, away } => {
                assert!(ended.stderr.contains("is protected"), "{}", told());
                self.may_be_gone(ids, *away);
            }
            Deed::Prune { .. } => {
                assert!(succeeded, "{}", told());
                for volume in document()["volumes"].as_array().unwrap() {
                    for removed in volume["removed"].as_array().unwrap() {
                        self.here.set(text(removed, "backup_id"), State::MayBeGone);
                    }
                }
            }
            Deed::Collect { .. } if succeeded => {
                let report = document();
                assert_eq!(number(&report, "missing_chunks"), 0, "{}", told());
                assert!(
                    report["damage"] == Value::Array(vec![]) && report["doubts"] == Value::Array(vec![]),
                    "{}",
                    told()
                );
            }
            Deed::Verify { away } | Deed::Repair { away } => {
                if !succeeded && !hurried() {
                    self.damage_is_of_deleted(&document(), *away, meanwhile, &told());
                }
            }
            Deed::Copy => self.judge_copy(&document(), meanwhile, &told()),
            Deed::Collect { .. } | Deed::CollectAtOnce { .. } => assert!(succeeded || hurried(), "{}", told()),
            Deed::RebuildIndex | Deed::List | Deed::Stats => assert!(succeeded, "{}", told()),
        }
    }

    fn may_be_gone(&mut self, ids: &[String], away: bool) {
        let model = if away { &mut self.away } else { &mut self.here };
        ids.iter().for_each(|id| model.set(id, State::MayBeGone));
    }

    /// Whether a backup is being deleted in this round.
    fn is_going(&self, id: &str, meanwhile: &Meanwhile) -> bool {
        meanwhile.deleting.contains(id) || meanwhile.pruned.contains_key(&self.here.0[id].volume)
    }

    /// What is found damaged may only be of backups that were deleted, and their space freed, while somebody looked.
    fn damage_is_of_deleted(&self, report: &Value, away: bool, meanwhile: &Meanwhile, told: &str) {
        let damaged = report["damaged_backups"].as_array().unwrap();
        assert!(!damaged.is_empty(), "{told}");
        for backup in damaged {
            let id = text(backup, "backup_id");
            let going = if away { meanwhile.deleting_away.contains(id) } else { self.is_going(id, meanwhile) };
            assert!(going, "{told}");
        }
    }

    fn judge_copy(&mut self, report: &Value, meanwhile: &Meanwhile, told: &str) {
        for list in ["copied", "already_there"] {
            for copied in report[list].as_array().unwrap() {
                let id = text(copied, "backup_id");
                let state = if meanwhile.deleting_away.contains(id) { State::MayBeGone } else { State::Made };
                let known = model::Known { state, ..self.here.0[id].clone() };
                self.away.0.insert(id.to_owned(), known);
            }
        }
        for failed in report["failed"].as_array().unwrap() {
            let (id, error) = (text(failed, "backup_id"), text(failed, "error"));
            let lost_file = error.contains("can't finish") && error.contains("No such file");
            let hurried = meanwhile.impatient && (error.contains("a garbage collector gave up") || lost_file);
            assert!(hurried || self.is_going(id, meanwhile), "{told}");
        }
    }

    /// A target is under its name when it is whole, and not before.
    fn look_at_target(&self, deed: &Deed, succeeded: bool) {
        let (id, target, is_new) = match deed {
            Deed::Restore { id, target } => (id, target, true),
            Deed::Overwrite { id, target } => (id, target, false),
            _ => return,
        };
        let is_right = || fs::read(self.place.path(target)).unwrap() == model::bytes(&self.here.0[id].content);
        let there = self.place.path(target).exists();
        assert!(there || !succeeded && is_new, "{deed:?}: no target");
        assert!(!there || !(succeeded || is_new) || is_right(), "{deed:?}: other bytes");
    }

    /// Compares what is there, now that nothing runs, with what ought to be.
    pub fn settle(&mut self, meanwhile: &Meanwhile, cache: &str) {
        let listed = self.list(&["--cache-dir", cache]);
        self.here.settle(&listed, &meanwhile.pruned);
        let listed = self.list(&[&self.repository(true)[..], &["--cache-dir", cache]].concat());
        // A copy that was killed may have been made.
        for backup in &listed {
            let known = model::Known { state: State::MayBeMade, ..self.here.0[&backup.id].clone() };
            self.away.0.entry(backup.id.clone()).or_insert(known);
            if self.away.0[&backup.id].state == State::Gone && !meanwhile.deleting_away.contains(&backup.id) {
                self.away.set(&backup.id, State::MayBeMade);
            }
        }
        let going = self.away.0.iter_mut().filter(|(id, _)| meanwhile.deleting_away.contains(*id));
        going.for_each(|(_, known)| known.state = State::MayBeGone);
        self.away.settle(&listed, &Default::default());
        for repository in [false, true].map(|away| self.repository(away)) {
            let verified =
                self.place.json(&[&repository[..], &["--cache-dir", cache, "verify", "--read-data"]].concat());
            assert_eq!(verified["clean"], Value::Bool(true), "{verified}");
        }
    }

    fn list(&self, options: &[&str]) -> Vec<Listed> {
        let document = self.place.json(&[options, &["list"]].concat());
        let facts = |backup: &Value| {
            assert_eq!(backup["damaged_bytes"], Value::Null, "{backup}");
            let (id, volume) = (text(backup, "backup_id").to_owned(), text(backup, "volume_id").to_owned());
            Listed { id, volume, created_at: text(backup, "created_at").parse().unwrap() }
        };
        document.as_array().unwrap().iter().map(facts).collect()
    }

    /// Restores all backups of both repositories, and compares them byte for byte.
    pub fn restore_all(&self, cache: &str) {
        for (repository, model) in [(self.repository(false), &self.here), (self.repository(true), &self.away)] {
            for id in model.made() {
                self.place
                    .succeed(&[&repository[..], &["-q", "--cache-dir", cache, "restore", &id, "restored"]].concat());
                let restored = fs::read(self.place.path("restored")).unwrap();
                assert!(restored == model::bytes(&model.0[&id].content), "backup {id} has other bytes");
                fs::remove_file(self.place.path("restored")).unwrap();
            }
        }
    }
}

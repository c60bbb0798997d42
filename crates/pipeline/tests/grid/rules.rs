//! What has to happen where which object is damaged.

use super::damage::Form;
use crate::scene::command::Command;
use crate::scene::full::Kind;
use crate::scene::is_encrypted;

/// What a command has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the damage does not matter to it, and it does its work.
    Nothing,
    /// The object's name, in an error or in its report; it does what can be done.
    Name,
    /// That something is damaged or missing.
    Something,
    /// It may find it or not.
    Anything,
}

/// Whether the object's own checksums and ids tell that it is not what was put there.
fn is_evident(kind: Kind, form: &Form) -> bool {
    match (kind, form) {
        (_, Form::Intact | Form::Missing) => false,
        // Unless they are sealed for their place, they do not say which number they have, as a session's renewal does.
        (Kind::Mark | Kind::Note, Form::Older) | (Kind::Note, Form::Swapped) => is_encrypted(),
        // A text without a checksum.
        (Kind::Descriptor, Form::Foreign | Form::Flipped("time" | "repository id")) => false,
        _ => true,
    }
}

/// Whether frames of a pack are damaged, and its directory is not.
pub fn is_in_frames(form: &Form) -> bool {
    matches!(form, Form::Flipped("beginning of the frames" | "end of the frames"))
}

/// Whether another repository's id stands in the descriptor.
pub fn is_other_repository(kind: Kind, form: &Form) -> bool {
    kind == Kind::Descriptor && matches!(form, Form::Foreign | Form::Flipped("repository id"))
}

/// What a command has to say. Of backups A and B need the packs.
pub fn expected(kind: Kind, form: &Form, command: Command) -> Expected {
    use Command as C;
    use Expected::*;
    let evident = is_evident(kind, form);
    let missing = *form == Form::Missing;
    if !evident && !missing && !is_other_repository(kind, form) {
        // What it ought to note is found again where all data are read.
        let is_read = matches!(command, C::VerifyData | C::VerifyShare | C::Gc);
        return if kind == Kind::Note && is_read && *form != Form::Intact { Anything } else { Nothing };
    }
    match (kind, command) {
        // Its words are that there is no repository.
        (Kind::Descriptor, _) if missing => Something,
        // The key is another repository's.
        (Kind::Descriptor, _) if !evident && is_encrypted() => Something,
        (Kind::Descriptor, C::Sessions | C::Protect | C::Delete | C::Prune) if !evident => Anything,
        (Kind::Descriptor, C::Backup | C::Gc | C::Repair) if !evident => Name,
        (Kind::Descriptor, _) if !evident => Something,
        (Kind::Descriptor, _) => Name,

        (Kind::DataPack, C::Verify | C::Stats | C::Gc | C::GcDryRun) if is_in_frames(form) => Anything,
        (Kind::DataPack, C::Restore | C::Verify | C::VerifyData | C::VerifyShare | C::Copy) => Name,
        (Kind::DataPack, C::Gc | C::GcDryRun) if !missing => Name,
        (Kind::DataPack, C::Gc | C::GcDryRun | C::Stats | C::RepairDryRun) => Something,

        (Kind::MapPack, C::Restore | C::Verify | C::VerifyData | C::VerifyShare | C::Copy) => Name,
        (Kind::MapPack, C::Gc | C::GcDryRun | C::Stats | C::RepairDryRun) => Something,

        // It is made anew of the packs wherever it is needed.
        (Kind::Segment, C::Verify | C::VerifyData | C::VerifyShare | C::RebuildIndex) if !missing => Name,
        (Kind::Segment, C::Gc | C::GcDryRun) if !missing => Name,

        // Without its record there is no backup.
        (Kind::Record, C::Restore | C::Protect) if missing => Name,
        (Kind::Record, _) if missing => Nothing,
        (Kind::Record, C::Stats) => Something,
        (Kind::Record, C::List | C::Restore | C::Verify | C::VerifyData | C::VerifyShare | C::Prune | C::Copy) => Name,
        (Kind::Record, C::Gc | C::GcDryRun | C::Repair | C::RepairDryRun) => Name,

        (Kind::Session, C::Sessions) if !missing => Name,

        (Kind::Mark, C::List | C::Prune | C::Delete) if !missing => Name,

        // Who needs to know what is condemned.
        (Kind::Collection, C::Backup | C::Gc | C::GcDryRun | C::Repair) if !missing => Name,

        // That it is there is all that counts. Without it X is a backup that lacks everything.
        (Kind::Tombstone, _) if missing => Anything,

        (Kind::Note, C::Gc | C::GcDryRun) if missing => Anything,
        (Kind::Note, C::Gc | C::GcDryRun) => Name,
        // It is found again.
        (Kind::Note, C::VerifyData | C::VerifyShare) => Name,
        // A dry run finds it again, too, and does not replace it.
        (Kind::Note, C::RepairDryRun) if !missing => Name,

        // What it remembered is read again.
        (Kind::Cursor, C::VerifyShare) if !missing => Name,
        // Nor does anybody tell of a session's end that can't be read: it is none.
        _ => Nothing,
    }
}

/// Whether it is not known what is needed, so that nothing may be deleted by a collector.
pub fn is_doubtful(kind: Kind, form: &Form) -> bool {
    let present = *form != Form::Missing && is_evident(kind, form);
    match kind {
        Kind::MapPack => *form != Form::Intact,
        Kind::Record | Kind::Collection | Kind::Note => present,
        Kind::Descriptor => present || *form == Form::Missing || is_other_repository(kind, form),
        _ => false,
    }
}

/// Backups that may not come back as long as the object is damaged.
pub fn needing(kind: Kind, form: &Form) -> &'static [&'static str] {
    match kind {
        _ if *form == Form::Intact => &[],
        Kind::Descriptor => &["A", "B", "C", "G", "F", "H"],
        Kind::DataPack | Kind::MapPack => &["A", "B"],
        Kind::Record => &["A"],
        _ => &[],
    }
}

/// Backups that a command may take away for good.
pub fn removed(kind: Kind, form: &Form, command: Command) -> &'static [&'static str] {
    let is_gone = |of: Kind| kind == of && *form == Form::Missing;
    match command {
        // A is protected, as long as there is a mark or a doubt.
        Command::Prune | Command::Delete if is_gone(Kind::Mark) => &["A", "C"],
        Command::Prune | Command::Delete => &["C"],
        // There is no record of it.
        Command::Gc if is_gone(Kind::Record) => &["A"],
        // Of two copies of a chunk, nobody knows that one is wrong.
        Command::Gc if kind == Kind::Note && !is_evident(kind, form) && *form != Form::Intact => &["H"],
        _ => &[],
    }
}

/// Whether a command may remove an object of this name.
pub fn may_remove(command: Command, name: &str, removed: &[String]) -> bool {
    let of_removed = removed.iter().any(|id| name.contains(id.as_str()));
    let below = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match command {
        Command::Gc => below(&["packs/", "index/", "gc/", "sessions/", "fences/", "damage/"]),
        Command::Prune | Command::Delete => of_removed && below(&["backups/", "marks/"]),
        Command::Protect => below(&["marks/"]),
        Command::Repair => below(&["index/", "damage/"]),
        // Where scrubs have come that are not as far as this one.
        Command::VerifyShare => below(&["scrub/"]),
        _ => false,
    }
}

/// Whether a command that only reads may leave an object of this name.
pub fn may_add(command: Command, name: &str) -> bool {
    // Who has to make the index anew names the packs again that a lost segment named.
    name.starts_with("index/") || command == Command::VerifyShare && name.starts_with("scrub/")
}

//! `key`

use cinderblock_store::KeySlot;
use serde::Serialize;

use crate::arguments::keys::{self, Command, NewKey};
use crate::context::Context;
use crate::output::table::{self, Align};
use crate::output::{facts, note, printable};
use crate::secrets;

#[derive(Serialize)]
struct Key {
    key_id: String,
    method: String,
    label: String,
    created_at: String,
    in_use: bool,
}

impl From<&KeySlot> for Key {
    fn from(slot: &KeySlot) -> Self {
        Self {
            key_id: slot.id.to_string(),
            method: slot.method.to_string(),
            label: slot.label.clone(),
            created_at: slot.created_at.to_string(),
            in_use: slot.in_use,
        }
    }
}

#[derive(Serialize)]
struct Changed {
    key_id: String,
}

pub fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List => list(context),
        Command::Add(new) => add(context, new),
        Command::Remove { key } => remove(context, key),
        Command::Rotate(new) => rotate(context, new),
        Command::Generate { file } => {
            secrets::make_key_file(file)?;
            context.summary(&serde_json::json!({ "key_file": file }), || format!("made {}\n", file.display()))
        }
    }
}

fn list(context: &Context) -> anyhow::Result<()> {
    let found = context.repository()?.key_slots()?;
    for (id, error) in &found.unreadable {
        note(&format!("cinderblock: key {id} cannot be read: {error}"));
    }
    let documents: Vec<Key> = found.slots.iter().map(Key::from).collect();
    context.answer(&documents, || {
        let headings = [
            ("KEY", Align::Left),
            ("METHOD", Align::Left),
            ("MADE", Align::Left),
            ("IN USE", Align::Left),
            ("LABEL", Align::Left),
        ];
        let row = |slot: &KeySlot| {
            let in_use = if slot.in_use { "now" } else { "" };
            let label = printable(&slot.label).to_string();
            [slot.id.to_string(), slot.method.to_string(), facts::time(slot.created_at), in_use.to_owned(), label]
        };
        table::columns(headings, &found.slots.iter().map(row).collect::<Vec<_>>())
    })?;
    match found.unreadable.len() {
        0 => Ok(()),
        _ => anyhow::bail!("not all keys can be read"),
    }
}

fn add(context: &Context, new: &NewKey) -> anyhow::Result<()> {
    let repository = context.repository()?;
    // Told before anybody has to think of a passphrase.
    repository.key_slots()?;
    let id = repository.add_key(&new.sources().new_secret()?, new.label.as_deref().unwrap_or_default())?;
    context.summary(&Changed { key_id: id.to_string() }, || format!("key {id} opens the repository, too\n"))
}

fn remove(context: &Context, text: &str) -> anyhow::Result<()> {
    let repository = context.repository()?;
    let found = repository.key_slots()?;
    let unreadable = found.unreadable.iter().map(|(id, _)| *id);
    let ids: Vec<_> = found.slots.iter().map(|slot| slot.id).chain(unreadable).collect();
    let id = keys::only_match(&ids, text).map_err(anyhow::Error::msg)?;
    repository.remove_key(id)?;
    context.summary(&Changed { key_id: id.to_string() }, || format!("key {id} opens the repository no more\n"))
}

fn rotate(context: &Context, new: &NewKey) -> anyhow::Result<()> {
    let repository = context.repository()?;
    repository.key_slots()?;
    let id = repository.rotate_key(&new.sources().new_secret()?, new.label.as_deref())?;
    context.summary(&Changed { key_id: id.to_string() }, || {
        format!("key {id} opens the repository in place of the one that did\n")
    })
}

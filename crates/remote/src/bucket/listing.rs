//! Listings.

use cinderblock_backend::{Error, MAX_NAME_LEN};
use futures::StreamExt as _;
use object_store::ObjectMeta;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;

use super::Bucket;
use super::fault::Fault;
use crate::http::original;

/// Whether there can be an object's name that begins so.
pub(super) fn can_begin_a_name(prefix: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let (folders, last) = prefix.rsplit_once('/').map_or(("", prefix), |(folders, last)| (folders, last));
    prefix.len() <= MAX_NAME_LEN
        && !prefix.starts_with('/')
        && !last.starts_with('.')
        && last.bytes().all(plain)
        && (folders.is_empty()
            || folders.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain)))
}

/// As much of a prefix as any service takes: up to the first character that is none for all of them.
fn askable(prefix: &str) -> &str {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '%' | '\\');
    let end = prefix.char_indices().find(|(at, c)| !plain(*c) || *at >= MAX_NAME_LEN / 2);
    end.and_then(|(end, _)| prefix.get(..end)).unwrap_or(prefix)
}

impl Bucket {
    /// Calls `visit` with each key below our prefix that begins with `prefix`, and its size in bytes.
    pub(super) fn each_key(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(&str, u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut visit = |meta: &ObjectMeta| {
            let key = original(meta.location.as_ref());
            match key.strip_prefix(&self.prefix) {
                Some(key) if key.starts_with(prefix) => visit(key, meta.size),
                _ => Ok(()),
            }
        };
        match &self.stores.pages {
            Some(pages) => {
                let mut key_prefix = format!("{}{}", self.prefix, askable(prefix));
                // Of Azure's answers, `object_store` drops the key that is the prefix itself, for a folder's.
                if self.stores.omits_prefix && !key_prefix.ends_with('/') {
                    key_prefix.pop();
                }
                self.each_of_pages(&**pages, &key_prefix, &mut visit)
            }
            None => self.each_of_stream(prefix, &mut visit),
        }
    }

    fn each_of_pages(
        &self,
        pages: &dyn PaginatedListStore,
        key_prefix: &str,
        visit: &mut dyn FnMut(&ObjectMeta) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |fault: Fault| fault.into_error("list", None, &self.location, &self.words);
        let mut token = None;
        loop {
            // No request is under way while `visit` runs: it may send some of its own.
            let page = self.wait(self.page(pages, key_prefix, token.clone())).map_err(failed)?;
            page.result.objects.iter().try_for_each(&mut *visit)?;
            match page.page_token.filter(|next| !next.is_empty()) {
                None => return Ok(()),
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(failed(Fault::Broken(
                        "the storage answers with the same page of the listing again and again",
                    )));
                }
                Some(next) => token = Some(next),
            }
        }
    }

    async fn page(
        &self,
        pages: &dyn PaginatedListStore,
        key_prefix: &str,
        token: Option<String>,
    ) -> Result<object_store::list::PaginatedListResult, Fault> {
        let mut tries = self.tries();
        loop {
            let options = PaginatedListOptions { page_token: token.clone(), ..PaginatedListOptions::default() };
            let answer = {
                let _turn = self.turn().await?;
                pages.list_paginated((!key_prefix.is_empty()).then_some(key_prefix), options).await
            };
            match answer {
                Ok(page) => return Ok(page),
                Err(error) => tries.again(Fault::from(error)).await?,
            }
        }
    }

    /// A store without pages lists what is below a folder: all of the prefix's own, of which the visitor takes its part.
    fn each_of_stream(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(&ObjectMeta) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed =
            |error: object_store::Error| Fault::from(error).into_error("list", None, &self.location, &self.words);
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        // Where no path can be made of the prefix, all is listed.
        let folder = Path::parse(format!("{}{folder}", self.prefix)).or_else(|_| Path::parse(&self.prefix));
        let folder = folder.map_err(|error| failed(error.into()))?;
        let mut stream = self.stores.once.list(Some(&folder));
        while let Some(meta) = self.wait(stream.next()) {
            visit(&meta.map_err(failed)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cinderblock_backend::ObjectName;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_request_is_made_for_names_that_nothing_can_have() {
        for prefix in ["", "a", "a/", "a.b/c-", "packs/ab/_"] {
            assert!(can_begin_a_name(prefix), "{prefix}");
        }
        let long = "x".repeat(2000);
        for prefix in ["/", "//", "a//", "/a", ".", "../", "a/..", "a/./", "ä", "\0", "a\0/b", "a/b c", &long] {
            assert!(!can_begin_a_name(prefix), "{prefix}");
        }
    }

    proptest! {
        #[test]
        fn every_beginning_of_a_name_can_begin_one(name in "[a_-][a._-]{0,5}(/[a_-][a._-]{0,5}){0,3}", cut in 0..30usize) {
            prop_assert!(ObjectName::new(name.as_str()).is_ok());
            prop_assert!(can_begin_a_name(&name[..cut.min(name.len())]));
        }

        #[test]
        fn what_is_asked_for_begins_what_is_wanted(prefix in any::<String>()) {
            prop_assert!(prefix.starts_with(askable(&prefix)));
        }
    }
}

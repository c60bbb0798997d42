//! Listings, page by page.

use cinderblock_backend::{Error as BackendError, ForeignName, MAX_NAME_LEN, ObjectInfo, ObjectName};
use reqwest::Method;
use serde::Deserialize;

use super::Error;
use super::client::{Answer, Client, Request, bounded_text};
use crate::retry::Passing;

/// The most bytes of a page for each of its entries: a name of 1,024 bytes, each of them as `\u0000`, and some hundred
/// for size, hash, type and time.
const MAX_ENTRY: usize = 8 * 1024;

/// The most entries of a page: what Swift itself allows (`container_listing_limit`).
pub(super) const MAX_PAGE: usize = 10_000;

/// One entry of a page. What Swift says besides is not used.
#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
}

/// What there is under a name.
pub(super) enum Listed {
    Object(ObjectInfo),
    Foreign(ForeignName),
}

impl Client {
    /// What all keys begin with.
    fn root(&self) -> String {
        if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) }
    }

    /// The page of names that begin with `prefix` and come after `marker`.
    async fn page(&self, prefix: &str, marker: &str) -> Result<Vec<Entry>, Error> {
        let page = self.settings.page.clamp(1, MAX_PAGE);
        let limit = page.to_string();
        let query = [("format", "json"), ("prefix", prefix), ("marker", marker), ("limit", limit.as_str())];
        let request = Request { method: Method::GET, query: &query, ..Request::default() };
        let mut tries = self.tries();
        loop {
            let Answer { response, permit } = self.execute(&request, &mut tries).await?;
            match response.status().as_u16() {
                200 => {}
                204 => return Ok(Vec::new()),
                404 => return Err(Error::NoContainer { container: self.container.clone() }),
                _ => return Err(self.answer_error(&request, response).await),
            }
            let wait = self.settings.http.read_timeout;
            match bounded_text(response, page.saturating_mul(MAX_ENTRY), wait, &self.describe(&request)).await {
                Ok(text) => {
                    let nonsense =
                        |_| Error::Protocol { request: self.describe(&request), problem: "it is no listing" };
                    return serde_json::from_slice(&text).map_err(nonsense);
                }
                Err(error) if error.is_passing() => {
                    drop(permit);
                    super::client::pause(&mut tries, error, &self.settings.http).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls `visit` for all that has the prefix. It runs between the requests, and may use the client.
    pub(super) fn list(
        &self,
        prefix: &str,
        visit: &mut dyn FnMut(Listed) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        // Swift refuses longer names, and NUL in them: there are none.
        if prefix.len() > 2 * MAX_NAME_LEN || prefix.contains('\0') {
            return Ok(());
        }
        let root = self.root();
        let full = format!("{root}{prefix}");
        let failed = |error: Error| error.of("list", self.location());
        let mut marker = String::new();
        loop {
            let page = self.wait(self.page(&full, &marker))?.map_err(failed)?;
            // Only an empty page is the last: a short one may be due to a shard of the container.
            if page.is_empty() {
                return Ok(());
            }
            for entry in page {
                // Names come in ascending order. Without it, a listing might never end, or show something twice.
                if entry.name <= marker || !entry.name.starts_with(&full) {
                    let request = format!("GET {}", self.location());
                    let problem = "names are not in order, or not those that were asked for";
                    return Err(failed(Error::Protocol { request, problem }));
                }
                let name = entry.name.get(root.len()..).unwrap_or_default();
                if !name.is_empty() {
                    visit(match ObjectName::new(name) {
                        Ok(name) => Listed::Object(ObjectInfo { name, size: entry.bytes }),
                        Err(_) => Listed::Foreign(ForeignName::new(name)),
                    })?;
                }
                marker = entry.name;
            }
        }
    }
}

//! Packs that no segment names.

use std::collections::HashSet;

use super::Session;
use crate::error::Error;
use crate::id::PackId;
use crate::pack::PackReader;
use crate::segment::PackSummary;

impl Session<'_> {
    /// Takes in packs that no segment names, such as a writer that was killed has left: they are named by a segment of this session,
    /// and found from then on. How many. It costs one listing of all packs, and a look at each that the index does not know.
    ///
    /// # Errors
    /// What the storage or the index says. Packs that are damaged, gone, or about to be deleted are passed over.
    pub fn adopt_strays(&self) -> Result<u64, Error> {
        self.repository.refresh_index()?;
        let known: HashSet<PackId> = self.repository.packs()?.into_iter().map(|pack| pack.id).collect();
        let mut adopted = 0;
        for (id, _) in self.repository.list_packs()? {
            if known.contains(&id) || self.condemned.contains(&id) {
                continue;
            }
            self.stay()?;
            let summary = match PackReader::open(self.repository.backend(), self.repository.seal(), id) {
                Ok(pack) => PackSummary::of_reader(&pack),
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            adopted += 1;
            if let Some(full) = self.take_pending(summary) {
                self.write_segment(full)?;
            }
        }
        self.flush()?;
        Ok(adopted)
    }
}

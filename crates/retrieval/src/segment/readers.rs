//! Readers: for each principal the documents that it may read, as ordinals where they are few and as bits where many.

use std::collections::BTreeMap;

use super::format::{part, u32_at, u64_at};
use crate::bits::Bits;

/// Name's start and end within the names, start of the list within the section, its length, how it is written.
const ENTRY_BYTES: usize = 24;
const COUNT_BYTES: usize = 8;

const AS_ORDINALS: u32 = 0;
const AS_BITS: u32 = 1;

/// Collects the readers of documents that come in the order of their ordinals.
#[derive(Default)]
pub(super) struct Writer {
    lists: BTreeMap<String, Vec<u32>>,
}

impl Writer {
    pub(super) fn push(&mut self, document: u32, readers: &[String]) {
        for reader in readers {
            let list = match self.lists.get_mut(reader) {
                Some(list) => list,
                None => self.lists.entry(reader.clone()).or_default(),
            };
            if list.last() != Some(&document) {
                list.push(document);
            }
        }
    }

    pub(super) fn finish(self, documents: u32) -> Vec<u8> {
        let names: usize = self.lists.keys().map(String::len).sum();
        let lists_at = (COUNT_BYTES + self.lists.len() * ENTRY_BYTES + names).next_multiple_of(8);
        let (mut entries, mut all_names, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for (name, list) in &self.lists {
            let start = all_names.len() as u32;
            all_names.extend_from_slice(name.as_bytes());
            entries.extend_from_slice(&start.to_le_bytes());
            entries.extend_from_slice(&(all_names.len() as u32).to_le_bytes());
            entries.extend_from_slice(&((lists_at + lists.len()) as u64).to_le_bytes());
            entries.extend_from_slice(&(list.len() as u32).to_le_bytes());
            let bits_bytes = (documents as usize).div_ceil(64) * 8;
            if list.len() * 4 > bits_bytes {
                entries.extend_from_slice(&AS_BITS.to_le_bytes());
                let mut bits = Bits::none(documents);
                list.iter()
                    .for_each(|document| bits.add_range(*document..*document + 1));
                lists.extend(bits.words().iter().flat_map(|word| word.to_le_bytes()));
            } else {
                entries.extend_from_slice(&AS_ORDINALS.to_le_bytes());
                lists.extend(list.iter().flat_map(|document| document.to_le_bytes()));
                lists.resize(lists.len().next_multiple_of(8), 0);
            }
        }
        let mut section = Vec::with_capacity(lists_at + lists.len());
        section.extend_from_slice(&(self.lists.len() as u64).to_le_bytes());
        section.extend(entries);
        section.extend(all_names);
        section.resize(lists_at, 0);
        section.extend(lists);
        section
    }
}

/// Adds to `seen` the documents that a principal may read.
pub(super) fn add_documents(section: &[u8], principal: &str, seen: &mut Bits) {
    // What is damaged adds nothing: a reader is never invented.
    if let Some(list) = find(section, principal) {
        list.add_to(section, seen);
    }
}

struct List {
    start: u64,
    count: u32,
    encoding: u32,
}

impl List {
    fn add_to(&self, section: &[u8], seen: &mut Bits) -> Option<()> {
        if self.encoding == AS_BITS {
            let bytes = seen.words().len() as u64 * 8;
            let (words, _) =
                part(section, self.start, self.start.checked_add(bytes)?)?.as_chunks::<8>();
            seen.add_words(words.iter().map(|word| u64::from_le_bytes(*word)));
            return Some(());
        }
        let end = self.start.checked_add(u64::from(self.count) * 4)?;
        let (ordinals, _) = part(section, self.start, end)?.as_chunks::<4>();
        for ordinal in ordinals {
            seen.add(u32::from_le_bytes(*ordinal));
        }
        Some(())
    }
}

fn find(section: &[u8], principal: &str) -> Option<List> {
    let count = usize::try_from(u64_at(section, 0)?).ok()?;
    let names_at = count.checked_mul(ENTRY_BYTES)?.checked_add(COUNT_BYTES)?;
    let (entries, names) = (
        section.get(COUNT_BYTES..names_at)?,
        section.get(names_at..)?,
    );
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = &entries[middle * ENTRY_BYTES..][..ENTRY_BYTES];
        let name = part(names, u32_at(entry, 0)?.into(), u32_at(entry, 1)?.into())?;
        match name.cmp(principal.as_bytes()) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                return Some(List {
                    start: u64_at(entry, 1)?,
                    count: u32_at(entry, 4)?,
                    encoding: u32_at(entry, 5)?,
                });
            }
        }
    }
    None
}

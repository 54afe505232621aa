//! Headings from the document's outline: its entries, where their words stand on the pages they point to.
//!
//! Sizes of fonts would guess headings; an outline was made by whoever made the document. An entry whose words are not
//! found on its page is left out, since a heading must be where it says.

use std::collections::{BTreeMap, BTreeSet};

use hayro_syntax::Pdf;
use hayro_syntax::object::{Array, Dict, MaybeRef, Object, ObjectIdentifier, String as PdfString};

use super::content::text_string;
use crate::{Heading, Outline, one_line};

/// More entries than a book of 5,000 pages has.
const MAX_ENTRIES: usize = 20_000;
/// Nodes and names of the tree of named destinations.
const MAX_NODES: usize = 50_000;
/// A longer title is a text; lines of the pages that are compared with titles, all in all.
const MAX_TITLE_BYTES: usize = 1_000;
const MAX_COMPARED: usize = 4_000_000;

/// The outline's entries, in the order of the text.
pub(super) fn headings(pdf: &Pdf, text: &str, pages: &[usize]) -> Vec<Heading> {
    let xref = pdf.xref();
    let Some(catalog) = xref.get::<Dict<'_>>(xref.root_id()) else {
        return Vec::new();
    };
    let Some(outlines) = catalog.get::<Dict<'_>>(b"Outlines".as_slice()) else {
        return Vec::new();
    };
    let mut numbers = BTreeMap::new();
    for (number, page) in pdf.pages().iter().enumerate() {
        if let Some(id) = page.raw().obj_id() {
            numbers.insert(key(id), number);
        }
    }
    let targets = Targets {
        numbers,
        names: named_destinations(&catalog),
    };
    let entries = entries(&outlines, &targets);
    place(&entries, text, pages)
}

type Key = (i32, i32);

fn key(id: ObjectIdentifier) -> Key {
    (id.obj_number as i32, id.gen_number)
}

struct Entry {
    level: u8,
    title: String,
    page: usize,
}

/// Where destinations point to.
struct Targets<'a> {
    numbers: BTreeMap<Key, usize>,
    names: BTreeMap<Vec<u8>, Object<'a>>,
}

/// Walks the outline without recursion: an entry's first child, then the next of its siblings.
fn entries(outlines: &Dict<'_>, targets: &Targets<'_>) -> Vec<Entry> {
    let first = b"First".as_slice();
    let mut waiting: Vec<(Dict<'_>, u8)> = Vec::new();
    waiting.extend(outlines.get::<Dict<'_>>(first).map(|entry| (entry, 1)));
    let (mut found, mut seen, mut read) = (Vec::new(), BTreeSet::new(), 0);
    while let Some((entry, level)) = waiting.pop() {
        let known = entry.obj_id().is_some_and(|id| !seen.insert(key(id)));
        if known || read >= MAX_ENTRIES {
            break;
        }
        read += 1;
        let title = entry
            .get::<PdfString<'_>>(b"Title".as_slice())
            .filter(|title| title.as_bytes().len() <= MAX_TITLE_BYTES)
            .and_then(|title| one_line(&text_string(title.as_bytes())));
        if let (Some(title), Some(page)) = (title, targets.page(&entry)) {
            found.push(Entry { level, title, page });
        }
        let next = entry.get::<Dict<'_>>(b"Next".as_slice());
        waiting.extend(next.map(|next| (next, level)));
        let child = entry.get::<Dict<'_>>(first);
        waiting.extend(child.map(|child| (child, (level + 1).min(6))));
    }
    found
}

impl Targets<'_> {
    /// The page that an entry points to, by its destination or by its action of going there.
    fn page(&self, entry: &Dict<'_>) -> Option<usize> {
        let destination = entry.get::<Object<'_>>(b"Dest".as_slice()).or_else(|| {
            let action = entry.get::<Dict<'_>>(b"A".as_slice())?;
            action.get::<Object<'_>>(b"D".as_slice())
        })?;
        let name = match &destination {
            Object::Name(name) => name.as_str().as_bytes().to_vec(),
            Object::String(name) => name.as_bytes().to_vec(),
            _ => return self.number(&destination),
        };
        self.number(self.names.get(&name)?)
    }

    /// The page of an explicit destination: an array, or a dictionary with one.
    fn number(&self, destination: &Object<'_>) -> Option<usize> {
        let array = match destination {
            Object::Array(array) => array.clone(),
            Object::Dict(dict) => dict.get::<Array<'_>>(b"D".as_slice())?,
            _ => return None,
        };
        match array.raw_iter().next()? {
            MaybeRef::Ref(reference) => self.numbers.get(&key(reference.into())).copied(),
            MaybeRef::NotRef(object) => usize::try_from(object.into_i32()?).ok(),
        }
    }
}

/// The destinations that have names: in a dictionary in old files, in a tree in newer ones.
fn named_destinations<'a>(catalog: &Dict<'a>) -> BTreeMap<Vec<u8>, Object<'a>> {
    let mut found = BTreeMap::new();
    if let Some(old) = catalog.get::<Dict<'a>>(b"Dests".as_slice()) {
        for name in old.keys().take(MAX_NODES) {
            if let Some(target) = old.get::<Object<'a>>(name.as_str().as_bytes()) {
                found.insert(name.as_str().as_bytes().to_vec(), target);
            }
        }
    }
    let mut waiting: Vec<Dict<'a>> = catalog
        .get::<Dict<'a>>(b"Names".as_slice())
        .and_then(|names| names.get::<Dict<'a>>(b"Dests".as_slice()))
        .into_iter()
        .collect();
    let mut nodes = 0;
    while let Some(node) = waiting.pop() {
        if nodes > MAX_NODES {
            break;
        }
        nodes += 1;
        if let Some(kids) = node.get::<Array<'a>>(b"Kids".as_slice()) {
            let before = waiting.len();
            waiting.extend(
                kids.iter::<Dict<'a>>()
                    .take(MAX_NODES - waiting.len().min(MAX_NODES)),
            );
            nodes += waiting.len() - before;
        }
        if let Some(pairs) = node.get::<Array<'a>>(b"Names".as_slice()) {
            let mut items = pairs.iter::<Object<'a>>();
            while let (Some(name), Some(target)) = (items.next(), items.next()) {
                nodes += 1;
                if nodes > MAX_NODES {
                    break;
                }
                if let Some(name) = name.into_string() {
                    found.insert(name.as_bytes().to_vec(), target);
                }
            }
        }
    }
    found
}

/// Finds the entries' words on their pages, each after the one before.
fn place(entries: &[Entry], text: &str, pages: &[usize]) -> Vec<Heading> {
    let (mut found, mut after): (Outline, usize) = (Outline::default(), 0);
    let mut left = MAX_COMPARED;
    for entry in entries {
        let Some(start) = pages.get(entry.page) else {
            continue;
        };
        let end = pages.get(entry.page + 1).copied().unwrap_or(text.len());
        let from = (*start).max(after);
        if from >= end {
            continue;
        }
        if let Some(at) = find(&text[from..end], &entry.title, &mut left) {
            found.push(entry.level, &entry.title, from + at);
            after = from + at + 1;
            while !text.is_char_boundary(after) {
                after += 1;
            }
        }
    }
    found.finish()
}

/// Where the words of a title stand: at the start of a line, maybe behind a number, their letters in a row whatever white
/// space and case they have on the page.
fn find(page: &str, title: &str, left: &mut usize) -> Option<usize> {
    let wanted: Vec<char> = letters(title).collect();
    if wanted.is_empty() {
        return None;
    }
    let mut start = 0;
    for line in page.split_inclusive('\n') {
        *left = left.checked_sub(1 + line.len() / MAX_TITLE_BYTES)?;
        let skipped = line.len()
            - line
                .trim_start_matches(|c: char| !c.is_alphabetic() || c.is_whitespace())
                .len();
        // A title may begin with the number itself, or the outline may leave the number out.
        for at in [start, start + skipped] {
            let mut here = letters(reach(&page[at..], title));
            if wanted.iter().all(|letter| here.next() == Some(*letter)) {
                return Some(start + (line.len() - line.trim_start().len()));
            }
        }
        start += line.len();
    }
    None
}

/// As much of a page as a title may stand on, with more white space and marks than it has.
fn reach<'p>(page: &'p str, title: &str) -> &'p str {
    let mut end = page.len().min(2 * title.len() + 200);
    while !page.is_char_boundary(end) {
        end += 1;
    }
    &page[..end]
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
}

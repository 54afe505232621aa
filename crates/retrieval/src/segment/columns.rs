//! Metadata by key: the different values of a key, each once, and for each document which of them it has.
//!
//! A filter is decided once for each different value, by [`Filter::passes`] itself, and then looked up for each
//! document: so a column cannot mean anything else than the filter language says.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::SegmentError;
use super::format::{part, u32_at, u64_at};
use crate::bits::Bits;
use crate::filter::{Filter, Shape};

const COUNT_BYTES: usize = 8;
/// Key's start (8) and length (4), how the documents are written (4), documents (4), values (4), start of the documents
/// (8), start of the values (8).
const ENTRY_BYTES: usize = 40;

/// A code for every document; 0: the key is missing, otherwise the value's number from 1.
const DENSE: u32 = 0;
/// Ordinals of the documents with the key, ascending, then their values' numbers from 0, 4 bytes each.
const SPARSE: u32 = 1;
/// A key on a smaller share of the documents than one in so many is written sparse.
const SPARSE_BELOW: usize = 8;

const JSON: u8 = 0;
const SIGNED: u8 = 1;
const UNSIGNED: u8 = 2;
const FLOAT: u8 = 3;
const TEXT: u8 = 4;

/// Collects the metadata of documents that come in the order of their ordinals.
#[derive(Default)]
pub(super) struct Writer {
    columns: BTreeMap<String, Column>,
}

#[derive(Default)]
struct Column {
    numbers: HashMap<Vec<u8>, u32>,
    /// Document and number of its value.
    rows: Vec<(u32, u32)>,
}

impl Writer {
    pub(super) fn push(
        &mut self,
        document: u32,
        metadata: &BTreeMap<String, Value>,
    ) -> Result<(), SegmentError> {
        for (key, value) in metadata {
            let column = match self.columns.get_mut(key) {
                Some(column) => column,
                None => self.columns.entry(key.clone()).or_default(),
            };
            let bytes = written(value)?;
            let next = column.numbers.len() as u32;
            let number = *column.numbers.entry(bytes).or_insert(next);
            column.rows.push((document, number));
        }
        Ok(())
    }

    pub(super) fn finish(self, documents: u32) -> Vec<u8> {
        let mut entries = Vec::new();
        let mut data: Vec<u8> = Vec::new();
        let data_at = COUNT_BYTES + self.columns.len() * ENTRY_BYTES;
        for (key, column) in &self.columns {
            let key_at = data_at + data.len();
            data.extend_from_slice(key.as_bytes());
            data.resize(data.len().next_multiple_of(8), 0);
            let values = column.sorted_values();
            let values_at = data_at + data.len();
            push_values(&mut data, &values);
            let rows_at = data_at + data.len();
            let numbers: HashMap<u32, u32> = (0..)
                .zip(&values)
                .map(|(new, (_, old))| (*old, new))
                .collect();
            let rows = column
                .rows
                .iter()
                .map(|(document, old)| (*document, numbers[old]));
            let sparse = column.rows.len() < documents as usize / SPARSE_BELOW;
            if sparse {
                push_sparse(&mut data, rows);
            } else {
                push_dense(&mut data, rows, documents, values.len());
            }
            data.resize(data.len().next_multiple_of(8), 0);
            entries.extend_from_slice(&(key_at as u64).to_le_bytes());
            entries.extend_from_slice(&(key.len() as u32).to_le_bytes());
            entries.extend_from_slice(&(if sparse { SPARSE } else { DENSE }).to_le_bytes());
            entries.extend_from_slice(&(column.rows.len() as u32).to_le_bytes());
            entries.extend_from_slice(&(values.len() as u32).to_le_bytes());
            entries.extend_from_slice(&(rows_at as u64).to_le_bytes());
            entries.extend_from_slice(&(values_at as u64).to_le_bytes());
        }
        let mut section = (self.columns.len() as u64).to_le_bytes().to_vec();
        section.extend(entries);
        section.extend(data);
        section
    }
}

impl Column {
    /// The values in the order of their bytes, with the numbers that they had while they were collected: the same
    /// documents must give the same file.
    fn sorted_values(&self) -> Vec<(&[u8], u32)> {
        let numbers = self.numbers.iter();
        let mut values: Vec<_> = numbers
            .map(|(value, old)| (value.as_slice(), *old))
            .collect();
        values.sort_unstable();
        values
    }
}

fn push_values(data: &mut Vec<u8>, values: &[(&[u8], u32)]) {
    let mut end = 0u64;
    data.extend_from_slice(&end.to_le_bytes());
    for (value, _) in values {
        end += value.len() as u64;
        data.extend_from_slice(&end.to_le_bytes());
    }
    for (value, _) in values {
        data.extend_from_slice(value);
    }
    data.resize(data.len().next_multiple_of(8), 0);
}

fn push_sparse(data: &mut Vec<u8>, rows: impl Iterator<Item = (u32, u32)> + Clone) {
    data.extend(
        rows.clone()
            .flat_map(|(document, _)| document.to_le_bytes()),
    );
    data.extend(rows.flat_map(|(_, value)| value.to_le_bytes()));
}

fn push_dense(
    data: &mut Vec<u8>,
    rows: impl Iterator<Item = (u32, u32)>,
    documents: u32,
    values: usize,
) {
    let (start, width) = (data.len(), code_bytes(values));
    data.resize(start + documents as usize * width, 0);
    for (document, value) in rows {
        let code = (value + 1).to_le_bytes();
        data[start + document as usize * width..][..width].copy_from_slice(&code[..width]);
    }
}

/// Bytes of a dense code: 0 is the missing key.
fn code_bytes(values: usize) -> usize {
    match values {
        0..=0xFF => 1,
        0x100..=0xFFFF => 2,
        _ => 4,
    }
}

fn written(value: &Value) -> Result<Vec<u8>, SegmentError> {
    let tagged = |tag: u8, bytes: &[u8]| [&[tag], bytes].concat();
    let number = value.as_number();
    Ok(match value {
        Value::String(text) => tagged(TEXT, text.as_bytes()),
        _ if value.is_i64() => tagged(SIGNED, &value.as_i64().unwrap_or_default().to_le_bytes()),
        _ if value.is_u64() => tagged(UNSIGNED, &value.as_u64().unwrap_or_default().to_le_bytes()),
        _ if number.is_some_and(serde_json::Number::is_f64) => {
            tagged(FLOAT, &value.as_f64().unwrap_or_default().to_le_bytes())
        }
        _ => tagged(
            JSON,
            &serde_json::to_vec(value).map_err(SegmentError::build)?,
        ),
    })
}

fn read(bytes: &[u8]) -> Option<Value> {
    let (tag, rest) = bytes.split_first()?;
    Some(match *tag {
        TEXT => Value::from(std::str::from_utf8(rest).ok()?),
        SIGNED => Value::from(i64::from_le_bytes(rest.try_into().ok()?)),
        UNSIGNED => Value::from(u64::from_le_bytes(rest.try_into().ok()?)),
        FLOAT => Value::from(f64::from_le_bytes(rest.try_into().ok()?)),
        JSON => serde_json::from_slice(rest).ok()?,
        _ => return None,
    })
}

/// The documents whose metadata pass a filter. What is damaged does not pass.
pub(super) fn passing(section: &[u8], documents: u32, filter: &Filter) -> Bits {
    match filter.shape() {
        Shape::Key(key) => {
            passing_key(section, documents, filter, key).unwrap_or_else(|| Bits::none(documents))
        }
        Shape::All(members) => members
            .iter()
            .fold(Bits::all(documents), |mut all, member| {
                if !all.is_empty() {
                    all.keep(&passing(section, documents, member));
                }
                all
            }),
        Shape::Any(members) => members
            .iter()
            .fold(Bits::none(documents), |mut any, member| {
                any.add_words(passing(section, documents, member).words().iter().copied());
                any
            }),
    }
}

fn passing_key(section: &[u8], documents: u32, filter: &Filter, key: &str) -> Option<Bits> {
    let missing_passes = filter.passes(&BTreeMap::new());
    let Some(stored) = Stored::find(section, key)? else {
        return Some(if missing_passes {
            Bits::all(documents)
        } else {
            Bits::none(documents)
        });
    };
    let verdicts = stored.verdicts(section, filter, key)?;
    stored.passing(section, documents, missing_passes, &verdicts)
}

/// A column's entry.
struct Stored {
    encoding: u32,
    rows: usize,
    values: usize,
    rows_at: u64,
    values_at: u64,
}

impl Stored {
    /// The outer `None`: the section is damaged; the inner: there is no such key.
    fn find(section: &[u8], key: &str) -> Option<Option<Self>> {
        let count = usize::try_from(u64_at(section, 0)?).ok()?;
        let end = count.checked_mul(ENTRY_BYTES)?.checked_add(COUNT_BYTES)?;
        let entries = section.get(COUNT_BYTES..end)?;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = &entries[middle * ENTRY_BYTES..][..ENTRY_BYTES];
            let start = u64_at(entry, 0)?;
            let name = part(section, start, start.checked_add(u32_at(entry, 2)?.into())?)?;
            match name.cmp(key.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(Some(Self::read(entry)?)),
            }
        }
        Some(None)
    }

    fn read(entry: &[u8]) -> Option<Self> {
        Some(Self {
            encoding: u32_at(entry, 3)?,
            rows: u32_at(entry, 4)? as usize,
            values: u32_at(entry, 5)? as usize,
            rows_at: u64_at(entry, 3)?,
            values_at: u64_at(entry, 4)?,
        })
    }

    /// Whether each value passes. One map is used for all of them: only its value changes.
    fn verdicts(&self, section: &[u8], filter: &Filter, key: &str) -> Option<Vec<bool>> {
        let offsets_end = self.values_at.checked_add((self.values as u64 + 1) * 8)?;
        let offsets = part(section, self.values_at, offsets_end)?;
        let heap = section.get(usize::try_from(offsets_end).ok()?..)?;
        let mut metadata = BTreeMap::from([(key.to_owned(), Value::Null)]);
        let mut verdicts = Vec::with_capacity(self.values);
        for number in 0..self.values {
            let value = part(heap, u64_at(offsets, number)?, u64_at(offsets, number + 1)?)?;
            let slot = metadata.get_mut(key)?;
            *slot = read(value)?;
            verdicts.push(filter.passes(&metadata));
        }
        Some(verdicts)
    }

    fn passing(
        &self,
        section: &[u8],
        documents: u32,
        missing: bool,
        verdicts: &[bool],
    ) -> Option<Bits> {
        if self.encoding == SPARSE {
            return self.passing_sparse(section, documents, missing, verdicts);
        }
        let mut by_code = vec![missing];
        by_code.extend_from_slice(verdicts);
        let width = code_bytes(self.values);
        let bytes = u64::from(documents) * width as u64;
        let codes = part(section, self.rows_at, self.rows_at.checked_add(bytes)?)?;
        let passes = |code: usize| by_code.get(code).copied().unwrap_or(false);
        Some(match width {
            1 => Bits::from_slice(codes, |code| passes(usize::from(*code))),
            2 => Bits::from_slice(codes.as_chunks::<2>().0, |code| {
                passes(u16::from_le_bytes(*code).into())
            }),
            _ => Bits::from_slice(codes.as_chunks::<4>().0, |code| {
                passes(u32::from_le_bytes(*code) as usize)
            }),
        })
    }

    fn passing_sparse(
        &self,
        section: &[u8],
        documents: u32,
        missing: bool,
        verdicts: &[bool],
    ) -> Option<Bits> {
        let bytes = self.rows as u64 * 4;
        let middle = self.rows_at.checked_add(bytes)?;
        let ordinals = part(section, self.rows_at, middle)?;
        let values = part(section, middle, middle.checked_add(bytes)?)?;
        let mut found = if missing {
            Bits::all(documents)
        } else {
            Bits::none(documents)
        };
        for row in 0..self.rows {
            let (document, value) = (u32_at(ordinals, row)?, u32_at(values, row)? as usize);
            match verdicts.get(value) {
                Some(true) => found.add(document),
                _ => found.remove(document),
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::filter::{Attribute, List, Members, Text};

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            (-3i64..3).prop_map(Value::from),
            (-2i32..3).prop_map(|number| Value::from(f64::from(number) / 2.0)),
            Just(json!(9_007_199_254_740_993_u64)),
            Just(json!(9_007_199_254_740_992_u64)),
            Just(json!(u64::MAX)),
            prop::sample::select(vec!["", "a", "ab", "b"]).prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
            prop::collection::vec(prop::sample::select(vec!["a", "ab"]), 0..3)
                .prop_map(Value::from),
            Just(json!([1, 2.0, "a"])),
            Just(json!({"deep": [1]})),
        ]
    }

    /// Also filters that no caller can send: columns must agree with the language as it is evaluated.
    fn leaf() -> impl Strategy<Value = Filter> {
        let key = || prop::sample::select(vec!["x", "y", "rare", "absent"]).prop_map(str::to_owned);
        let one = prop::sample::select(vec![
            Filter::Equals,
            Filter::NotEquals,
            Filter::GreaterThan,
            Filter::GreaterThanOrEquals,
            Filter::LessThan,
            Filter::LessThanOrEquals,
            Filter::ListContains,
        ] as Vec<fn(Attribute) -> Filter>);
        let list = prop::sample::select(vec![Filter::In, Filter::NotIn] as Vec<fn(List) -> Filter>);
        let text = prop::sample::select(
            vec![Filter::StartsWith, Filter::StringContains] as Vec<fn(Text) -> Filter>
        );
        let part = prop::sample::select(vec!["", "a", "b"]).prop_map(str::to_owned);
        prop_oneof![
            (one, key(), value()).prop_map(|(of, key, value)| of(Attribute { key, value })),
            (list, key(), prop::collection::vec(value(), 0..4))
                .prop_map(|(of, key, value)| of(List { key, value })),
            (text, key(), part).prop_map(|(of, key, value)| of(Text { key, value })),
        ]
    }

    fn filter() -> impl Strategy<Value = Filter> {
        leaf().prop_recursive(3, 12, 3, |inner| {
            let members = prop::collection::vec(inner, 2..4);
            (any::<bool>(), members).prop_map(|(all, members)| {
                let members = Members::try_from(members).unwrap();
                if all {
                    Filter::AndAll(members)
                } else {
                    Filter::OrAll(members)
                }
            })
        })
    }

    proptest! {
        #[test]
        fn columns_say_what_the_filter_says_of_each_document(
            rows in prop::collection::vec(
                (prop::option::of(value()), prop::option::of(value()), prop::option::weighted(0.05, value())), 0..90),
            filter in filter(),
        ) {
            let mut writer = Writer::default();
            let documents: Vec<BTreeMap<String, Value>> = rows
                .into_iter()
                .map(|(x, y, rare)| {
                    let keys = [("x", x), ("y", y), ("rare", rare)];
                    keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
                })
                .collect();
            for (ordinal, metadata) in documents.iter().enumerate() {
                writer.push(ordinal as u32, metadata).unwrap();
            }
            let count = documents.len() as u32;
            let found = passing(&writer.finish(count), count, &filter);
            for (ordinal, metadata) in documents.iter().enumerate() {
                prop_assert_eq!(found.contains(ordinal as u32), filter.passes(metadata), "{:?}", metadata);
            }
        }

        #[test]
        fn damaged_columns_pass_nothing_and_never_panic(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            filter in filter(),
        ) {
            passing(&noise, 70, &filter);
        }
    }

    #[test]
    fn codes_grow_with_the_number_of_values() {
        for values in [3u32, 300, 70_000] {
            let mut writer = Writer::default();
            for document in 0..values {
                let metadata = BTreeMap::from([("n".to_owned(), json!(document))]);
                writer.push(document, &metadata).unwrap();
            }
            let section = writer.finish(values);
            let filter = serde_json::from_value(
                json!({"greaterThanOrEquals": {"key": "n", "value": values - 2}}),
            )
            .unwrap();
            let found = passing(&section, values, &filter);
            assert_eq!(found.iter().collect::<Vec<_>>(), [values - 2, values - 1]);
        }
    }
}

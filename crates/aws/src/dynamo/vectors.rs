//! The table's vector index: one item for each passage and reader, found by `SearchVectors`.
//!
//! An index compares equality and nothing else, on attributes that hold one value. So a passage with three readers is
//! three items, and the question "what may this principal read" is exact and asked before anything is ranked.
//!
//! Source: Amazon DynamoDB API Reference, `VectorIndex`, `SearchSchemaElement`, `SearchVectors`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, Select, WriteRequest};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::keys::{self, Named, VectorName};
use super::{Item, SERVICE, Table, key_item, refused};
use crate::{AwsError, FILTER_KEYS, classify};

/// The index's name in `template.yaml`.
const INDEX: &str = "vectors";
/// The most matches of one search. There is no page after them. Source: `SearchVectors`, `TopK`.
pub const MATCHES: usize = 100;
/// Items that are made and written at a time: 4,096 numbers each are 50 KB.
const ITEMS_AT_A_TIME: usize = 500;
/// Batches of 25 in flight.
const BATCHES_IN_FLIGHT: usize = 4;

/// A vector to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorItem {
    pub name: VectorName,
    /// The principal that finds it.
    pub reader: String,
    pub vector: Vec<f32>,
    /// What the document holds at the space's filter keys, as the searcher writes it too.
    pub filters: [Option<String>; FILTER_KEYS],
}

/// What is searched for: the nearest vectors of a space that `reader` may read.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSearch<'a> {
    pub space: &'a str,
    pub reader: &'a str,
    pub vector: &'a [f32],
    /// Values that must stand at the filter keys.
    pub filters: [Option<String>; FILTER_KEYS],
    /// 1 to [`MATCHES`].
    pub limit: usize,
}

/// A vector that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatch {
    pub name: VectorName,
    /// Cosine similarity, -1 to 1.
    pub similarity: f32,
}

impl Table {
    /// Writes vectors, whatever was there before.
    ///
    /// # Errors
    /// As [`Table::put_many`]; [`AwsError::Refused`] for a vector that the index does not take.
    pub async fn put_vectors(
        &self,
        items: impl Iterator<Item = VectorItem>,
    ) -> Result<(), AwsError> {
        let mut items = items.peekable();
        while items.peek().is_some() {
            let requests = items.by_ref().take(ITEMS_AT_A_TIME).map(put_request);
            self.write_side_by_side(requests.collect::<Result<_, _>>()?)
                .await?;
        }
        Ok(())
    }

    /// Deletes the vectors of a document but those of version `keep`; answers how many those are.
    ///
    /// # Errors
    /// As [`Table::query`] and [`Table::put_many`].
    pub async fn delete_vectors(
        &self,
        document_id: &str,
        keep: Option<&str>,
    ) -> Result<usize, AwsError> {
        let partition = keys::vectors_partition(document_id);
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(partition))
            .projection_expression("pk, sk")
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut kept = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(SERVICE, error))?;
            let mut requests = Vec::new();
            for item in page.items.unwrap_or_default() {
                let named = name(&item);
                if named.is_some_and(|name| Some(name.version.as_str()) == keep) {
                    kept += 1;
                    continue;
                }
                let delete = DeleteRequest::builder().set_key(Some(item)).build();
                let delete = delete.map_err(|error| refused(&error))?;
                requests.push(WriteRequest::builder().delete_request(delete).build());
            }
            self.write_side_by_side(requests).await?;
        }
        Ok(kept)
    }

    /// How many vectors a document has, of all versions.
    ///
    /// # Errors
    /// As [`Table::query`].
    pub async fn count_vectors(&self, document_id: &str) -> Result<usize, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(
                ":pk",
                AttributeValue::S(keys::vectors_partition(document_id)),
            )
            .select(Select::Count)
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(SERVICE, error))?;
            count += usize::try_from(page.count).unwrap_or_default();
        }
        Ok(count)
    }

    /// The nearest vectors, nearest first. The index is approximate, and may lag behind a write.
    ///
    /// # Errors
    /// [`AwsError::Refused`] when the table has no vector index, or one of another dimension.
    pub async fn search_vectors(
        &self,
        search: &VectorSearch<'_>,
    ) -> Result<Vec<VectorMatch>, AwsError> {
        let mut condition = "#space = :space AND #reader = :reader".to_owned();
        let mut names = HashMap::from([
            ("#space".to_owned(), SPACE.to_owned()),
            ("#reader".to_owned(), READER.to_owned()),
        ]);
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let mut values = HashMap::from([
            (":space".to_owned(), text(search.space)),
            (":reader".to_owned(), text(search.reader)),
        ]);
        for (number, value) in search.filters.iter().enumerate() {
            if let Some(value) = value {
                condition.push_str(&format!(" AND #filter{number} = :filter{number}"));
                names.insert(format!("#filter{number}"), filter_attribute(number));
                values.insert(format!(":filter{number}"), text(value));
            }
        }
        let reply = self
            .client
            .search_vectors()
            .table_name(&self.name)
            .index_name(INDEX)
            .set_search_vector(Some(numbers(search.vector)))
            .search_condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .top_k(search.limit.clamp(1, MATCHES) as i32)
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        let found = reply.search_results.unwrap_or_default().into_iter();
        let found = found.filter_map(|result| {
            // The score of a cosine index is the distance, 1 less the cosine.
            let similarity = (1.0 - result.score) as f32;
            let name = name(&result.item?)?;
            Some(VectorMatch { name, similarity })
        });
        Ok(found.collect())
    }

    async fn write_side_by_side(&self, requests: Vec<WriteRequest>) -> Result<(), AwsError> {
        let batches: Vec<_> = requests
            .chunks(super::BATCH_WRITE)
            .map(|chunk| self.write_batch(chunk.to_vec()))
            .collect();
        stream::iter(batches)
            .buffer_unordered(BATCHES_IN_FLIGHT)
            .try_collect()
            .await
    }
}

const SPACE: &str = "vector_space";
const READER: &str = "vector_reader";
const VECTOR: &str = "vector";

fn filter_attribute(number: usize) -> String {
    format!("vector_filter_{}", number + 1)
}

fn put_request(item: VectorItem) -> Result<WriteRequest, AwsError> {
    let space = keys::space_of(&item.name.document_id).unwrap_or_default();
    let mut attributes = key_item(&keys::vector(&item.name));
    attributes.insert(SPACE.into(), AttributeValue::S(space.to_owned()));
    attributes.insert(READER.into(), AttributeValue::S(item.reader));
    attributes.insert(VECTOR.into(), AttributeValue::L(numbers(&item.vector)));
    for (number, value) in item.filters.into_iter().enumerate() {
        if let Some(value) = value {
            attributes.insert(filter_attribute(number), AttributeValue::S(value));
        }
    }
    let put = PutRequest::builder().set_item(Some(attributes)).build();
    let put = put.map_err(|error| refused(&error))?;
    Ok(WriteRequest::builder().put_request(put).build())
}

fn numbers(vector: &[f32]) -> Vec<AttributeValue> {
    vector
        .iter()
        .map(|number| AttributeValue::N(number.to_string()))
        .collect()
}

fn name(item: &Item) -> Option<VectorName> {
    let text = |field: &str| item.get(field)?.as_s().ok();
    match keys::parse(text("pk")?, text("sk")?)? {
        Named::Vector(name) => Some(name),
        _ => None,
    }
}

//! The one table: items in and out as serde types, optimistic locking by version, never a scan.

mod add;
mod count;
pub mod keys;
mod pages;
mod transact;
mod value;
mod vectors;

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{self, Settings};
use crate::{AwsError, classify};
use keys::Key;

pub use add::{Added, Addition, Holds, Numbers};
pub use count::Count;
pub use pages::Pages;
pub use transact::{TransactError, Write};
pub use vectors::{MATCHES, VectorItem, VectorMatch, VectorSearch};

/// The sparse index that lists runs of a space.
pub const BY_SPACE_INDEX: &str = "gsi1";

const SERVICE: &str = "DynamoDB";
/// BatchGetItem takes at most 100 keys, BatchWriteItem at most 25 requests.
/// Source: Amazon DynamoDB API Reference.
const BATCH_GET: usize = 100;
const BATCH_WRITE: usize = 25;

type Item = HashMap<String, AttributeValue>;

/// The service's table.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: String,
}

/// One page of a query.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The sort key after which the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Which rows of a partition to read, and in which order.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    pub partition: &'a str,
    pub sort_prefix: &'a str,
    /// Begin after this sort key.
    pub after: Option<&'a str>,
    pub limit: usize,
    pub newest_first: bool,
}

impl Table {
    pub(crate) fn new(sdk: &SdkConfig, settings: &Settings) -> Self {
        let mut own = aws_sdk_dynamodb::config::Builder::from(sdk);
        if let Some(endpoint) = config::dynamodb_endpoint(settings) {
            own = own.endpoint_url(endpoint);
        }
        Self {
            client: Client::from_conf(own.build()),
            name: settings.table.clone(),
        }
    }

    /// Reads one item with strong consistency; `None` when there is none.
    ///
    /// # Errors
    /// [`AwsError::Damaged`] when the item does not fit `T`; else the service's error.
    pub async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, AwsError> {
        self.item(key).await?.map(read).transpose()
    }

    async fn item(&self, key: &Key) -> Result<Option<Item>, AwsError> {
        let reply = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(reply.item)
    }

    /// Writes an item, whatever was there before.
    ///
    /// # Errors
    /// The service's error.
    pub async fn put<T: Serialize>(&self, key: &Key, item: &T) -> Result<(), AwsError> {
        self.put_request(key, item)?
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(())
    }

    /// Writes an item only where none is.
    ///
    /// # Errors
    /// [`AwsError::Conflict`] when there is one already.
    pub async fn create<T: Serialize>(&self, key: &Key, item: &T) -> Result<(), AwsError> {
        self.put_request(key, item)?
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(())
    }

    /// Replaces an item only while its `version` is `expected` (0: while there is none, or one without a version).
    ///
    /// # Errors
    /// [`AwsError::Conflict`] when another writer was first.
    pub async fn replace<T: Serialize>(
        &self,
        key: &Key,
        expected: u64,
        item: &T,
    ) -> Result<(), AwsError> {
        let request = self
            .put_request(key, item)?
            .expression_attribute_names("#version", "version");
        let request = if expected == 0 {
            request.condition_expression("attribute_not_exists(#version)")
        } else {
            request
                .condition_expression("#version = :expected")
                .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()))
        };
        request
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(())
    }

    /// Reads many items in any order; keys without an item are left out.
    ///
    /// # Errors
    /// [`AwsError::Busy`] when the service leaves keys unread five times running; else as [`Table::get`].
    pub async fn get_many<T: DeserializeOwned>(&self, keys: &[Key]) -> Result<Vec<T>, AwsError> {
        let items = self.items(keys).await?;
        items.into_iter().map(read).collect()
    }

    /// Reads two items in one call, with strong consistency.
    ///
    /// # Errors
    /// As [`Table::get_many`].
    pub async fn get_two<A: DeserializeOwned, B: DeserializeOwned>(
        &self,
        one: Key,
        other: Key,
    ) -> Result<(Option<A>, Option<B>), AwsError> {
        let mut wanted = [key_item(&one), key_item(&other)].map(|key| (key, None));
        for item in self.items(&[one, other]).await? {
            let named = |key: &Item| {
                key.iter()
                    .all(|(name, value)| item.get(name) == Some(value))
            };
            if let Some((_, found)) = wanted.iter_mut().find(|(key, _)| named(key)) {
                *found = Some(item);
            }
        }
        let [(_, one), (_, other)] = wanted;
        Ok((one.map(read).transpose()?, other.map(read).transpose()?))
    }

    async fn items(&self, keys: &[Key]) -> Result<Vec<Item>, AwsError> {
        let mut found = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BATCH_GET) {
            let mut wanted: Vec<Item> = chunk.iter().map(key_item).collect();
            for attempt in 0.. {
                let request = KeysAndAttributes::builder()
                    .set_keys(Some(wanted))
                    .consistent_read(true)
                    .build()
                    .map_err(|error| refused(&error))?;
                let reply = self
                    .client
                    .batch_get_item()
                    .request_items(&self.name, request)
                    .send()
                    .await
                    .map_err(|error| classify(SERVICE, error))?;
                found.extend(reply.responses.unwrap_or_default().into_values().flatten());
                wanted = reply
                    .unprocessed_keys
                    .unwrap_or_default()
                    .into_values()
                    .flat_map(|left| left.keys)
                    .collect();
                if wanted.is_empty() {
                    break;
                }
                pause_or_give_up(attempt, wanted.len()).await?;
            }
        }
        Ok(found)
    }

    /// Writes many items, 25 to a request, whatever was there before.
    ///
    /// # Errors
    /// [`AwsError::Busy`] when the service leaves items unwritten five times running.
    pub async fn put_many<T: Serialize>(&self, items: &[(Key, T)]) -> Result<(), AwsError> {
        for some in items.chunks(BATCH_WRITE) {
            let mut requests = Vec::with_capacity(some.len());
            for (key, item) in some {
                let put = PutRequest::builder()
                    .set_item(Some(write(key, item)?))
                    .build()
                    .map_err(|error| refused(&error))?;
                requests.push(WriteRequest::builder().put_request(put).build());
            }
            self.write_batch(requests).await?;
        }
        Ok(())
    }

    /// Deletes many items; those not there are no error.
    ///
    /// # Errors
    /// As [`Table::put_many`].
    pub async fn delete_many(&self, keys: &[Key]) -> Result<(), AwsError> {
        for some in keys.chunks(BATCH_WRITE) {
            let mut requests = Vec::with_capacity(some.len());
            for key in some {
                let delete = DeleteRequest::builder()
                    .set_key(Some(key_item(key)))
                    .build()
                    .map_err(|error| refused(&error))?;
                requests.push(WriteRequest::builder().delete_request(delete).build());
            }
            self.write_batch(requests).await?;
        }
        Ok(())
    }

    /// Deletes an item only while its `version` is `expected`; one that is not there is no error.
    ///
    /// # Errors
    /// [`AwsError::Conflict`] when another writer was first.
    pub async fn delete(&self, key: &Key, expected: u64) -> Result<(), AwsError> {
        self.client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key)))
            .condition_expression("attribute_not_exists(pk) OR #version = :expected")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()))
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        Ok(())
    }

    /// Sends at most [`BATCH_WRITE`] requests until none is left.
    async fn write_batch(&self, mut left: Vec<WriteRequest>) -> Result<(), AwsError> {
        for attempt in 0.. {
            let reply = self
                .client
                .batch_write_item()
                .request_items(&self.name, left)
                .send()
                .await
                .map_err(|error| classify(SERVICE, error))?;
            left = reply
                .unprocessed_items
                .unwrap_or_default()
                .into_values()
                .flatten()
                .collect();
            if left.is_empty() {
                break;
            }
            pause_or_give_up(attempt, left.len()).await?;
        }
        Ok(())
    }

    /// Reads one page of a partition in the order of the sort key.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub async fn query<T: DeserializeOwned>(&self, range: Range<'_>) -> Result<Page<T>, AwsError> {
        self.query_keys(range, None).await
    }

    /// Reads one page of the index that lists rows by space.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub async fn query_by_space<T: DeserializeOwned>(
        &self,
        range: Range<'_>,
    ) -> Result<Page<T>, AwsError> {
        self.query_keys(range, Some(BY_SPACE_INDEX)).await
    }

    async fn query_keys<T: DeserializeOwned>(
        &self,
        range: Range<'_>,
        index: Option<&str>,
    ) -> Result<Page<T>, AwsError> {
        let (pk, sk) = if index.is_some() {
            ("gsi1pk", "gsi1sk")
        } else {
            ("pk", "sk")
        };
        let text = |value: &str| AttributeValue::S(value.to_owned());
        // A range in the key condition is exclusive only through the start key, which an index cannot rebuild from
        // a cursor alone; so the bound goes into the condition itself, one character past the cursor.
        let bounds = match (range.after, range.newest_first) {
            (None, _) => (
                range.sort_prefix.to_owned(),
                format!("{}\u{10FFFF}", range.sort_prefix),
            ),
            (Some(after), false) => (
                format!("{after}\u{0}"),
                format!("{}\u{10FFFF}", range.sort_prefix),
            ),
            (Some(after), true) => (range.sort_prefix.to_owned(), before(after)),
        };
        let reply = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(index.map(str::to_owned))
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :low AND :high")
            .expression_attribute_names("#pk", pk)
            .expression_attribute_names("#sk", sk)
            .expression_attribute_values(":pk", text(range.partition))
            .expression_attribute_values(":low", text(&bounds.0))
            .expression_attribute_values(":high", text(&bounds.1))
            .consistent_read(index.is_none())
            .scan_index_forward(!range.newest_first)
            .limit(range.limit.clamp(1, 1000) as i32)
            .send()
            .await
            .map_err(|error| classify(SERVICE, error))?;
        let more = reply.last_evaluated_key.is_some();
        let last = reply
            .items
            .as_ref()
            .and_then(|items| items.last())
            .and_then(|item| item.get(sk).and_then(|value| value.as_s().ok()).cloned());
        let items = reply.items.unwrap_or_default();
        Ok(Page {
            items: items.into_iter().map(read).collect::<Result<_, _>>()?,
            next: last.filter(|_| more),
        })
    }

    fn put_request<T: Serialize>(
        &self,
        key: &Key,
        item: &T,
    ) -> Result<aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder, AwsError>
    {
        Ok(self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(write(key, item)?)))
    }
}

/// The greatest sort key below `key`: `key` less one in its last character. Sort keys here are printable ASCII.
fn before(key: &str) -> String {
    let mut bytes = key.as_bytes().to_vec();
    match bytes.pop() {
        Some(last) if last > 0x20 && last < 0x80 => {
            bytes.push(last - 1);
            String::from_utf8_lossy(&bytes).into_owned() + "\u{10FFFF}"
        }
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

async fn pause_or_give_up(attempt: u32, left: usize) -> Result<(), AwsError> {
    if attempt >= 4 {
        let detail = format!("{left} items of a batch were left unprocessed five times");
        return Err(AwsError::Busy {
            service: SERVICE,
            detail,
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(50 << attempt)).await;
    Ok(())
}

fn refused(error: &dyn std::error::Error) -> AwsError {
    AwsError::Refused {
        service: SERVICE,
        detail: error.to_string(),
    }
}

fn key_item(key: &Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.partition.clone())),
        ("sk".to_owned(), AttributeValue::S(key.sort.clone())),
    ])
}

fn write<T: Serialize>(key: &Key, item: &T) -> Result<Item, AwsError> {
    let value = serde_json::to_value(item).map_err(|error| AwsError::Damaged {
        detail: error.to_string(),
    })?;
    let Value::Object(fields) = value else {
        return Err(AwsError::Damaged {
            detail: "an item must be an object".into(),
        });
    };
    let mut attributes = key_item(key);
    if let Some((partition, sort)) = &key.by_space {
        attributes.insert("gsi1pk".into(), AttributeValue::S(partition.clone()));
        attributes.insert("gsi1sk".into(), AttributeValue::S(sort.clone()));
    }
    for (name, value) in fields {
        // DynamoDB's null would defeat `attribute_not_exists`; an absent field says the same.
        if !value.is_null() {
            attributes.insert(name, value::to_attribute(value));
        }
    }
    Ok(attributes)
}

fn read<T: DeserializeOwned>(item: Item) -> Result<T, AwsError> {
    let fields = item
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "pk" | "sk" | "gsi1pk" | "gsi1sk"))
        .map(|(name, attribute)| Ok((name, value::from_attribute(attribute)?)))
        .collect::<Result<serde_json::Map<_, _>, AwsError>>()?;
    serde_json::from_value(Value::Object(fields)).map_err(|error| AwsError::Damaged {
        detail: error.to_string(),
    })
}

//! Counting up to limits in one write: either every count stays within its limit and all of them rise, or none does.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use super::keys::Key;
use super::{Item, SERVICE, Table, key_item};
use crate::{AwsError, classify};

/// A count of an item, and how far it may rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub attribute: String,
    /// At least 1.
    pub limit: u64,
}

impl Table {
    /// Adds one to each count of an item, which expires at `expires_at` (seconds since the epoch). Answers `None`; or,
    /// when a count has reached its limit and so nothing was added, the number of the first that has.
    ///
    /// # Errors
    /// The service's error. A write whose answer was lost is made again by the SDK and then counts twice.
    pub async fn count(
        &self,
        key: &Key,
        counts: &[Count],
        expires_at: u64,
    ) -> Result<Option<usize>, AwsError> {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let mut names = HashMap::new();
        let mut values = HashMap::from([
            (":one".to_owned(), number(1)),
            (":expires".to_owned(), number(expires_at)),
        ]);
        let (mut added, mut conditions) = (Vec::new(), Vec::new());
        for (place, count) in counts.iter().enumerate() {
            names.insert(format!("#c{place}"), count.attribute.clone());
            values.insert(format!(":l{place}"), number(count.limit));
            added.push(format!("#c{place} :one"));
            conditions.push(format!(
                "(attribute_not_exists(#c{place}) OR #c{place} < :l{place})"
            ));
        }
        let sent = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key)))
            .update_expression(format!(
                "ADD {} SET expires_at = :expires",
                added.join(", ")
            ))
            .condition_expression(conditions.join(" AND "))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(None),
            Err(error) => match as_it_stands(&error) {
                Some(item) => Ok(Some(first_full(&item, counts))),
                None => Err(classify(SERVICE, error)),
            },
        }
    }
}

/// The item whose condition did not hold; `None` for any other error.
pub(super) fn as_it_stands<R>(error: &SdkError<UpdateItemError, R>) -> Option<Item> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(failed) => {
            Some(failed.item().cloned().unwrap_or_default())
        }
        _ => None,
    }
}

/// The first count that has reached its limit. An item that the service does not show was full at its first count.
fn first_full(item: &Item, counts: &[Count]) -> usize {
    let reached = |count: &Count| {
        let value = item.get(&count.attribute)?.as_n().ok()?;
        Some(value.parse::<u64>().ok()? >= count.limit)
    };
    let full = counts.iter().position(|count| reached(count) == Some(true));
    full.unwrap_or_default()
}

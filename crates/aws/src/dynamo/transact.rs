//! All or nothing: writes that happen together, each under its condition.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use serde_json::Value;

use super::keys::Key;
use super::{SERVICE, Table, key_item, refused, write};
use crate::{AwsError, classify};

/// One write of a transaction.
#[derive(Debug, Clone)]
pub enum Write {
    /// An item where none is. An item whose `expires_at` (seconds since the epoch) is before `now_seconds` counts as
    /// none: DynamoDB deletes expired items days later.
    Create {
        key: Key,
        item: Value,
        now_seconds: u64,
    },
    /// One more in the item's `count`, as long as it stays within `limit`. The item expires.
    Count {
        key: Key,
        limit: u64,
        expires_at: u64,
    },
}

/// Why a transaction wrote nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransactError {
    /// The conditions that did not hold, by the numbers of their writes.
    #[error("the conditions of writes {failed:?} do not hold")]
    Condition { failed: Vec<usize> },
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl Table {
    /// Makes all writes or none.
    ///
    /// # Errors
    /// [`TransactError::Condition`] when a condition does not hold; [`AwsError::Conflict`] when another transaction was
    /// at one of the items at the same time; else the service's error.
    pub async fn transact(&self, writes: Vec<Write>) -> Result<(), TransactError> {
        let items = writes
            .into_iter()
            .map(|write| self.transact_item(write))
            .collect::<Result<Vec<_>, AwsError>>()?;
        self.client
            .transact_write_items()
            .set_transact_items(Some(items))
            .send()
            .await
            .map(|_| ())
            .map_err(sorted)
    }

    fn transact_item(&self, one: Write) -> Result<TransactWriteItem, AwsError> {
        let number = |value: u64| AttributeValue::N(value.to_string());
        let item = TransactWriteItem::builder();
        Ok(match one {
            Write::Create {
                key,
                item: fields,
                now_seconds,
            } => {
                let put = Put::builder()
                    .table_name(&self.name)
                    .set_item(Some(write(&key, &fields)?))
                    .condition_expression("attribute_not_exists(pk) OR expires_at < :now")
                    .expression_attribute_values(":now", number(now_seconds))
                    .build()
                    .map_err(|error| refused(&error))?;
                item.put(put).build()
            }
            Write::Count {
                key,
                limit,
                expires_at,
            } => {
                let values = HashMap::from([
                    (":one".to_owned(), number(1)),
                    (":limit".to_owned(), number(limit)),
                    (":expires".to_owned(), number(expires_at)),
                ]);
                // An absent count is none yet; a limit of 0 lets nobody begin.
                let condition = if limit == 0 {
                    "#count < :limit"
                } else {
                    "attribute_not_exists(#count) OR #count < :limit"
                };
                let update = Update::builder()
                    .table_name(&self.name)
                    .set_key(Some(key_item(&key)))
                    .update_expression("ADD #count :one SET expires_at = :expires")
                    .condition_expression(condition)
                    .expression_attribute_names("#count", "count")
                    .set_expression_attribute_values(Some(values))
                    .build()
                    .map_err(|error| refused(&error))?;
                item.update(update).build()
            }
        })
    }
}

/// Conditions first: a transaction may be cancelled for several reasons at once, and only a condition is final.
fn sorted(error: SdkError<TransactWriteItemsError>) -> TransactError {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    else {
        return classify(SERVICE, error).into();
    };
    let codes: Vec<&str> = cancelled
        .cancellation_reasons()
        .iter()
        .map(|reason| reason.code().unwrap_or_default())
        .collect();
    let failed: Vec<usize> = (0..codes.len())
        .filter(|number| codes[*number] == "ConditionalCheckFailed")
        .collect();
    if !failed.is_empty() {
        return TransactError::Condition { failed };
    }
    let detail = format!("cancelled: {}", codes.join(", "));
    if codes.contains(&"TransactionConflict") {
        return AwsError::Conflict { detail }.into();
    }
    let busy = ["ThrottlingError", "ProvisionedThroughputExceeded"];
    if codes.iter().any(|code| busy.contains(code)) {
        let service = SERVICE;
        return AwsError::Busy { service, detail }.into();
    }
    AwsError::Refused {
        service: SERVICE,
        detail: format!("{detail}: {}", DisplayErrorContext(&error)),
    }
    .into()
}

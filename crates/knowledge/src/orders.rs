//! Orders of a shop, imported for its support agent to look up. An order without readers is read by nobody.

use std::collections::BTreeSet;

use aws::dynamo::keys;
use aws::{Aws, clock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::KnowledgeError;
use crate::access::{self, Caller};
use crate::limits;
use crate::roles::Role;
use crate::spaces;

/// Orders that one request may bring.
pub const IMPORT_ORDERS: usize = 500;

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderItem {
    pub name: String,
    #[serde(default = "one")]
    pub quantity: u32,
}

fn one() -> u32 {
    1
}

/// An order as it is imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// 1 to 64 of letters, digits, `-`, `_` and `.`.
    pub number: String,
    pub status: String,
    /// The id of the user whose order it is, as the identity provider has it; they may always read it.
    #[serde(default)]
    pub customer: Option<String>,
    /// Who may read it besides.
    #[serde(default)]
    pub readers: Vec<String>,
    #[serde(default)]
    pub items: Vec<OrderItem>,
    #[serde(default)]
    pub carrier: Option<String>,
    #[serde(default)]
    pub tracking_number: Option<String>,
    #[serde(default)]
    pub expected_at: Option<String>,
    #[serde(default)]
    pub total: Option<String>,
}

/// An order in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRow {
    pub number: String,
    pub status: String,
    pub readers: Vec<String>,
    #[serde(default)]
    pub items: Vec<OrderItem>,
    #[serde(default)]
    pub carrier: Option<String>,
    #[serde(default)]
    pub tracking_number: Option<String>,
    #[serde(default)]
    pub expected_at: Option<String>,
    #[serde(default)]
    pub total: Option<String>,
    pub updated_at_ms: u64,
}

/// Stores orders, each over the one of its number. Answers how many.
///
/// # Errors
/// [`KnowledgeError::RoleRequired`] for who is no admin; [`KnowledgeError::InvalidRequest`] or
/// [`KnowledgeError::InvalidPrincipal`] naming the first order that cannot be stored; none is stored then.
pub async fn import(
    aws: &Aws,
    space: &str,
    caller: &Caller,
    orders: Vec<NewOrder>,
) -> Result<usize, KnowledgeError> {
    if orders.len() > IMPORT_ORDERS {
        let detail = format!(
            "{} orders were sent, one request takes {IMPORT_ORDERS}; send several",
            orders.len()
        );
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    let mut numbers = BTreeSet::new();
    for order in &orders {
        let problem = if !keys::is_order_number(&order.number) {
            "cannot be an order's number; use 1 to 64 of letters, digits, '-', '_' and '.'"
        } else if order.status.trim().is_empty() {
            "has no status"
        } else if !numbers.insert(order.number.as_str()) {
            "stands twice; a number is one order's"
        } else {
            continue;
        };
        let detail = format!("order {:?} {problem}", order.number);
        return Err(KnowledgeError::InvalidRequest { detail });
    }
    access::check_principals(orders.iter().flat_map(|order| &order.readers))?;
    let entered = spaces::enter_or_make(aws, space, caller, Role::Admin).await?;
    limits::count(aws, &entered, caller).await?;
    let now_ms = clock::now_ms();
    let stored = orders.len();
    let rows: Vec<_> = orders
        .into_iter()
        .map(|order| (keys::order(space, &order.number), row(order, now_ms)))
        .collect();
    aws.table.put_many(&rows).await?;
    Ok(stored)
}

fn row(order: NewOrder, now_ms: u64) -> OrderRow {
    let customer = order.customer.map(|id| format!("user:{id}"));
    let readers: BTreeSet<String> = order.readers.into_iter().chain(customer).collect();
    OrderRow {
        number: order.number,
        status: order.status,
        readers: readers.into_iter().collect(),
        items: order.items,
        carrier: order.carrier,
        tracking_number: order.tracking_number,
        expected_at: order.expected_at,
        total: order.total,
        updated_at_ms: now_ms,
    }
}

/// An order that the caller may read; `None` when there is none of that number, or it is another's.
///
/// # Errors
/// The table's error.
pub async fn get(
    aws: &Aws,
    space: &str,
    number: &str,
    caller: &Caller,
) -> Result<Option<OrderRow>, KnowledgeError> {
    if !keys::is_space_name(space) || !keys::is_order_number(number) {
        return Ok(None);
    }
    let row: Option<OrderRow> = aws.table.get(&keys::order(space, number)).await?;
    Ok(row.filter(|row| caller.may_read(&row.readers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_by_its_customer() {
        let order = NewOrder {
            number: "A-1".into(),
            status: "shipped".into(),
            customer: Some("ada".into()),
            readers: vec!["group:support".into(), "user:ada".into()],
            items: Vec::new(),
            carrier: None,
            tracking_number: None,
            expected_at: None,
            total: None,
        };
        assert_eq!(row(order.clone(), 1).readers, ["group:support", "user:ada"]);
        let nobody = NewOrder {
            customer: None,
            readers: Vec::new(),
            ..order
        };
        assert!(!Caller::user("ada", &[]).may_read(&row(nobody, 1).readers));
    }
}

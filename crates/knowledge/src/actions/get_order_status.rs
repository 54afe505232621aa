//! How an order stands.

use aws::clock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shorten::Shorten;
use super::{Action, ActionError, Context, Group, Tier};
use crate::orders::{self, OrderItem};

pub(super) struct GetOrderStatus;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// The order's number, as the user gives it.
    order_number: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    order_number: String,
    /// Where the order is, in the shop's own words.
    status: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<OrderItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<String>,
    /// When this was last known.
    updated_at: String,
}

impl Shorten for Output {}

impl Action for GetOrderStatus {
    type Input = Input;
    type Output = Output;
    const NAME: &'static str = "get_order_status";
    const TITLE: &'static str = "Look an order up";
    const DESCRIPTION: &'static str =
        "Says how an order of the user stands: status, items, carrier, expected delivery.";
    const TIER: Tier = Tier::Read;
    const GROUP: Group = Group::Support;

    async fn run(context: &Context<'_>, input: Input) -> Result<Output, ActionError> {
        let number = input.order_number.trim();
        let order = orders::get(context.aws, context.space, number, context.caller).await?;
        let order = order.ok_or_else(|| ActionError::OrderNotFound {
            number: number.chars().take(64).collect(),
        })?;
        Ok(Output {
            order_number: order.number,
            status: order.status,
            items: order.items,
            carrier: order.carrier,
            tracking_number: order.tracking_number,
            expected_at: order.expected_at,
            total: order.total,
            updated_at: clock::rfc3339(order.updated_at_ms),
        })
    }
}

//! Adding to numbers of an item in one write, under conditions, and at most once.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::count::as_it_stands;
use super::keys::Key;
use super::{Item, SERVICE, Table, key_item};
use crate::{AwsError, classify};

/// How many writes an item remembers, each under the last digit of its id's digest.
const REMEMBERED: u32 = 16;

/// The numbers of an item by attribute; a fraction or a number beyond 64 bits is left out.
pub type Numbers = BTreeMap<String, i64>;

/// What must hold of the item before anything is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// The number is this or less; one that is not there is 0.
    AtMost(String, i64),
    Exists(String),
    Absent(String),
    Is(String, i64),
}

/// One write that adds to an item, which is made where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addition {
    /// What to add to which attribute; less than 0 is taken away.
    pub amounts: Vec<(String, i64)>,
    /// Texts that stand in the item from then on.
    pub texts: Vec<(String, String)>,
    pub removed: Vec<String>,
    pub holds: Vec<Holds>,
    /// Names the write. A repetition changes nothing, unless another write that fell into the same place of 16 came between.
    pub once: Option<String>,
    /// Whether the item remembers the write in a place of its own, for as long as there is the item: for writes that are few and may
    /// be repeated late.
    pub for_good: bool,
    /// DynamoDB's time to live, in seconds since the epoch.
    pub expires_at: Option<u64>,
}

/// What became of an addition, with the item's numbers: after it, or as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    Made(Numbers),
    /// The same write was made before.
    MadeBefore(Numbers),
    /// Something did not hold, and nothing was changed.
    Refused(Numbers),
}

impl Table {
    /// Makes an addition.
    ///
    /// # Errors
    /// The service's.
    pub async fn add(&self, key: &Key, addition: &Addition) -> Result<Added, AwsError> {
        let expression = Expression::of(addition);
        let sent = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key)))
            .update_expression(&expression.update)
            .set_condition_expression(expression.condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(reply) => Ok(Added::Made(numbers(&reply.attributes.unwrap_or_default()))),
            Err(error) => match as_it_stands(&error) {
                Some(item) => Ok(refused(&item, addition)),
                None => Err(classify(SERVICE, error)),
            },
        }
    }

    /// The numbers of an item; none where there is no item.
    ///
    /// # Errors
    /// The service's.
    pub async fn numbers(&self, key: &Key) -> Result<Numbers, AwsError> {
        let item = self.item(key).await?;
        Ok(numbers(&item.unwrap_or_default()))
    }
}

/// The same id has the same place, and ids that follow one another have different ones.
fn place(id: &str, for_good: bool) -> String {
    if for_good {
        return format!("once_{id}");
    }
    let sum = id.bytes().fold(0u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("once_{}", sum % REMEMBERED)
}

fn refused(item: &Item, addition: &Addition) -> Added {
    let remembered = |id: &String| {
        item.get(&place(id, addition.for_good))
            .and_then(|value| value.as_s().ok())
    };
    let before = addition.once.as_ref();
    match before.is_some_and(|id| remembered(id) == Some(id)) {
        true => Added::MadeBefore(numbers(item)),
        false => Added::Refused(numbers(item)),
    }
}

fn numbers(item: &Item) -> Numbers {
    let number = |value: &AttributeValue| value.as_n().ok()?.parse().ok();
    item.iter()
        .filter_map(|(name, value)| Some((name.clone(), number(value)?)))
        .collect()
}

/// An update in DynamoDB's words; every name stands behind a placeholder.
#[derive(Default)]
struct Expression {
    update: String,
    condition: Option<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn of(addition: &Addition) -> Self {
        let mut made = Self::default();
        let (mut added, mut set, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
        for (name, amount) in &addition.amounts {
            added.push(format!("{} {}", made.name(name), made.number(*amount)));
        }
        for (name, text) in &addition.texts {
            set.push(format!("{} = {}", made.name(name), made.text(text)));
        }
        if let Some(at) = addition.expires_at {
            let value = AttributeValue::N(at.to_string());
            set.push(format!(
                "{} = {}",
                made.name("expires_at"),
                made.value(value)
            ));
        }
        if let Some(id) = &addition.once {
            let (name, id) = (made.name(&place(id, addition.for_good)), made.text(id));
            conditions.push(format!("(attribute_not_exists({name}) OR {name} <> {id})"));
            set.push(format!("{name} = {id}"));
        }
        for holds in &addition.holds {
            conditions.push(made.holds(holds));
        }
        let removed: Vec<String> = addition
            .removed
            .iter()
            .map(|name| made.name(name))
            .collect();
        let parts = [("ADD", added), ("SET", set), ("REMOVE", removed)];
        let parts = parts
            .into_iter()
            .filter(|(_, parts)| !parts.is_empty())
            .map(|(word, parts)| format!("{word} {}", parts.join(", ")));
        made.update = parts.collect::<Vec<_>>().join(" ");
        made.condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        made
    }

    fn holds(&mut self, holds: &Holds) -> String {
        match holds {
            Holds::AtMost(name, most) => {
                let (name, most) = (self.name(name), self.number(*most));
                format!("(attribute_not_exists({name}) OR {name} <= {most})")
            }
            Holds::Exists(name) => format!("attribute_exists({})", self.name(name)),
            Holds::Absent(name) => format!("attribute_not_exists({})", self.name(name)),
            Holds::Is(name, number) => format!("{} = {}", self.name(name), self.number(*number)),
        }
    }

    fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn number(&mut self, number: i64) -> String {
        self.value(AttributeValue::N(number.to_string()))
    }

    fn text(&mut self, text: &str) -> String {
        self.value(AttributeValue::S(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_is_one_expression() {
        let addition = Addition {
            amounts: vec![("month".into(), 7), ("day_30".into(), -7)],
            texts: vec![("day".into(), "2026-11-30".into())],
            removed: vec!["held".into()],
            holds: vec![
                Holds::AtMost("month".into(), 93),
                Holds::Is("held".into(), 7),
            ],
            once: Some("a".into()),
            for_good: false,
            expires_at: Some(9),
        };
        let made = Expression::of(&addition);
        assert_eq!(
            made.update,
            "ADD #n0 :v0, #n1 :v1 SET #n2 = :v2, #n3 = :v3, #n4 = :v4 REMOVE #n5"
        );
        assert_eq!(
            made.condition.as_deref(),
            Some(
                "(attribute_not_exists(#n4) OR #n4 <> :v4) AND (attribute_not_exists(#n0) OR #n0 <= :v5) AND #n5 = :v6"
            )
        );
        assert_eq!(made.names["#n0"], "month");
        assert_eq!(made.values[":v1"], AttributeValue::N("-7".into()));
        assert_eq!(Expression::of(&Addition::default()).condition, None);
    }

    #[test]
    fn what_was_refused_tells_whether_it_was_made_before() {
        let numbers = Numbers::from([("month".to_owned(), 5)]);
        let check = |id: &str, for_good: bool, expected: Added| {
            let item = Item::from([
                (place("a", for_good), AttributeValue::S(id.to_owned())),
                ("month".to_owned(), AttributeValue::N("5".into())),
            ]);
            let addition = Addition {
                once: Some("a".into()),
                for_good,
                ..Addition::default()
            };
            assert_eq!(refused(&item, &addition), expected);
        };
        for for_good in [false, true] {
            check("a", for_good, Added::MadeBefore(numbers.clone()));
            check("b", for_good, Added::Refused(numbers.clone()));
        }
    }
}

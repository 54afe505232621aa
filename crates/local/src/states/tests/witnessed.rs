//! The machines that an independent emulator runs too: `tests/witness/machines.py` holds it to the same rows.

use super::*;

#[tokio::test]
async fn the_rows_hold_here() {
    let rows = include_str!("../../../../../tests/witness/machines.json");
    let rows: Vec<Value> = serde_json::from_str(rows).expect("JSON");
    assert!(rows.len() > 30);
    for row in rows {
        let expected = match row["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(row["output"].clone()),
        };
        let found = outcome(&row["definition"], &row["input"], &Arc::default()).await;
        assert_eq!(found, expected, "{}", row["name"]);
    }
}

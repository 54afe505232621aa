//! Models that throttle, stores that fail, a disk that fills.

use serde_json::{Value, json};

use super::{all_live, fill, redriven, statuses, sync};
use crate::instance::Instance;
use crate::redrive::balanced;

const DOCUMENTS: usize = 60;

/// Faults that a run gets through without help.
struct Case {
    name: &'static str,
    model: Option<Value>,
    stores: Vec<Value>,
}

impl Case {
    fn of_stores(name: &'static str, stores: Vec<Value>) -> Self {
        Self {
            name,
            model: None,
            stores,
        }
    }
}

async fn check(case: Case) {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    fill(folder.path(), DOCUMENTS, 1);
    if let Some(fault) = &case.model {
        instance.fault(fault).await;
    }
    for fault in &case.stores {
        instance.storage_fault(fault).await;
    }
    let run = sync(&instance).await;
    assert!(balanced(&run), "{}: {run}", case.name);
    assert_eq!(
        run["status"],
        "SUCCEEDED",
        "{}: {run} {}",
        case.name,
        instance.log()
    );
    let (of_stores, of_models) = (instance.storage_faults().await, instance.faults().await);
    let armed = [&of_stores, &of_models].map(|faults| faults.as_array().unwrap());
    let armed: Vec<&Value> = armed.into_iter().flatten().collect();
    let expected = case.stores.len() + usize::from(case.model.is_some());
    assert_eq!(armed.len(), expected, "{armed:?}");
    for fault in armed {
        assert!(
            fault["struck"].as_u64().unwrap() > 0,
            "{}: {fault}",
            case.name
        );
    }
    instance.clear_faults().await;
    all_live(&instance, DOCUMENTS, 1).await;
}

fn five_percent(service: &str, error: &str, moment: &str, seed: u64) -> Value {
    json!({"service": service, "error": error, "moment": moment, "share": 0.05, "seed": seed})
}

#[tokio::test]
async fn a_model_that_throttles_a_third_of_its_calls_is_waited_for() {
    check(Case {
        name: "throttling",
        model: Some(
            json!({"operation": "InvokeModel", "error": "ThrottlingException", "share": 0.3}),
        ),
        stores: Vec::new(),
    })
    .await;
}

#[tokio::test]
async fn stores_that_fail_at_five_percent_before_they_act_are_got_through() {
    check(Case::of_stores(
        "before",
        vec![
            five_percent("s3", "SlowDown", "before", 1),
            five_percent(
                "dynamodb",
                "ProvisionedThroughputExceededException",
                "before",
                2,
            ),
        ],
    ))
    .await;
}

#[tokio::test]
async fn stores_that_fail_at_five_percent_after_they_acted_are_got_through() {
    check(Case::of_stores(
        "after",
        vec![
            five_percent("s3", "InternalError", "after", 3),
            five_percent("dynamodb", "InternalServerError", "after", 4),
        ],
    ))
    .await;
}

#[tokio::test]
async fn a_disk_that_fills_is_named_and_a_redrive_mends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start_in(folder.path()).await;
    fill(folder.path(), DOCUMENTS, 1);
    let full = json!({"service": "s3", "disk_bytes": 20_000});
    instance.storage_fault(&full).await;
    let run = sync(&instance).await;
    assert_eq!(run["status"], "FAILED", "{run}");
    assert!(balanced(&run), "{run}");
    let told = run.to_string();
    assert!(
        told.contains("the disk that holds the laptop's data is full"),
        "{told}"
    );
    assert_eq!(statuses(&instance).await.get("pending"), None);
    instance.clear_faults().await;
    redriven(&instance, run).await;
    all_live(&instance, DOCUMENTS, 1).await;
}

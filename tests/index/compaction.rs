//! Small segments become few, deleted text leaves the bucket, and neither a kill nor another publisher loses anything.

use knowledge::manifest;
use serde_json::json;

use super::unreliable::{self, Moment};
use super::{Space, found, texts};
use crate::instance::Instance;
use knowledge::snapshot::Snapshots;

#[tokio::test]
async fn many_uploads_end_in_few_segments() {
    let instance = Instance::start().await;
    for number in 0..6 {
        let name = format!("note-{number}.txt");
        let content = format!("Note number {number} is about granite.");
        let (_, run) = instance.ingest(&name, &content).await;
        assert_eq!(run["status"], "SUCCEEDED", "{run}");
    }
    let manifest = Space::on(&instance, "default").manifest().await;
    assert_eq!(manifest.documents, 6);
    assert!(manifest.segments.len() <= 3, "{manifest:?}");
    let reply = instance
        .post(
            "/v1/search",
            &json!({"query": "granite", "mode": "lexical"}),
        )
        .await;
    assert_eq!(reply.body["results"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn deleted_text_leaves_the_bucket_when_its_grace_is_over() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space
        .ingest(&[
            ("a.txt", "The marmot whistles."),
            ("b.txt", "The ibex climbs."),
        ])
        .await;
    let before = space.keys("segments/").await;
    let readers = Snapshots::new(&space.aws.settings.index).unwrap();
    let old = space.current(&readers).await;
    space.ingest(&[("a.txt", "")]).await;

    // What was replaced stays for those who read it, and is in nobody's results.
    assert!(space.keys("segments/").await.is_superset(&before));
    assert_eq!(found(&old, "marmot"), texts(&["The marmot whistles."]));
    let new = space.current(&readers).await;
    assert_eq!(found(&new, "marmot"), texts(&[]));
    assert_eq!(space.live_documents().await, space.ids(&["b.txt"]));
    let live = space.manifest().await.segments;
    assert!(live.iter().all(|segment| segment.dead_documents.is_empty()));

    let hurried = Space::of(
        &instance.aws,
        "default",
        &[("OUTCROP_RETIRED_GRACE_SECONDS", "0")],
    );
    let run_id = hurried.new_run().await;
    hurried.step("compact", &run_id).await.unwrap();
    let after = space.keys("segments/").await;
    let kept: Vec<String> = live
        .iter()
        .flat_map(|segment| {
            [
                segment.key.clone(),
                manifest::document_list_key(&segment.key),
            ]
        })
        .collect();
    assert_eq!(after, kept.into_iter().collect());
    // Of manifests the live one's objects and what its cleaning retired.
    assert!(space.keys("manifests/").await.len() <= 2);
    // The files went; who holds the old snapshot still reads it.
    assert_eq!(found(&old, "marmot"), texts(&["The marmot whistles."]));
    assert_eq!(space.live_documents().await, space.ids(&["b.txt"]));
    hurried.step("compact", &run_id).await.unwrap();
    assert_eq!(space.keys("segments/").await, after);
}

#[tokio::test]
async fn a_publication_during_a_merge_is_not_lost() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    let names = ["a.txt", "b.txt", "c.txt", "d.txt"];
    for name in &names[..3] {
        space
            .ingest(&[(name, &format!("First text of {name}."))])
            .await;
    }
    // The fourth small segment calls for a merge; it is published and not compacted yet.
    space.put(&[("d.txt", "First text of d.txt.")]).await;
    let fourth = space.new_run().await;
    space.prepare(&fourth).await;
    space.step("publish", &fourth).await.unwrap();
    space
        .put(&[("a.txt", ""), ("b.txt", "Second text of b.txt.")])
        .await;
    let fifth = space.new_run().await;
    space.prepare(&fifth).await;
    let (merged, published) = tokio::join!(
        space.step("compact", &fourth),
        space.step("publish", &fifth)
    );
    merged.unwrap();
    published.unwrap();
    space.step("compact", &fifth).await.unwrap();
    assert_eq!(space.live_documents().await, space.ids(&names[1..]));
    let readers = Snapshots::new(&space.aws.settings.index).unwrap();
    let now = space.current(&readers).await;
    assert_eq!(
        found(&now, "text"),
        texts(&[
            "Second text of b.txt.",
            "First text of c.txt.",
            "First text of d.txt."
        ])
    );
}

/// Publish and Compact are cut off at each of their writes, once before it was made and once after, and repeated.
#[tokio::test]
async fn a_kill_at_any_write_changes_nothing_in_the_end() {
    let instance = Instance::start().await;
    for moment in [Moment::Before, Moment::After] {
        let name = match moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        let space = Space::on(&instance, name);
        let mut expected = Vec::new();
        let mut kills = 0;
        for round in 0..6 {
            let document = format!("{round}.txt");
            space.put(&[(&document, &format!("Text {round}."))]).await;
            expected.push(document);
            if round == 4 {
                space.put(&[("0.txt", "")]).await;
                expected.remove(0);
            }
            let run_id = space.new_run().await;
            space.prepare(&run_id).await;
            for step in ["publish", "compact"] {
                for writes in 0.. {
                    let door = unreliable::open(&instance.aws, writes, moment).await;
                    let failing = Space::of(&door, name, &[("OUTCROP_RETIRED_GRACE_SECONDS", "0")]);
                    if failing.step(step, &run_id).await.is_ok() {
                        break;
                    }
                    kills += 1;
                    // Half a step is no damage: the manifest names whole files, and no document twice.
                    if round > 0 {
                        space.live_documents().await;
                    }
                }
            }
            let names: Vec<&str> = expected.iter().map(String::as_str).collect();
            assert_eq!(
                space.live_documents().await,
                space.ids(&names),
                "{moment:?} {round}"
            );
        }
        assert!(kills > 20, "{kills} kills");
        assert!(space.manifest().await.segments.len() <= 4);
        let run_id = space.new_run().await;
        let hurried = Space::of(
            &instance.aws,
            name,
            &[("OUTCROP_RETIRED_GRACE_SECONDS", "0")],
        );
        hurried.step("compact", &run_id).await.unwrap();
        let live = space.manifest().await.segments.len();
        assert_eq!(
            space.keys(&format!("segments/{name}/")).await.len(),
            2 * live
        );
    }
}

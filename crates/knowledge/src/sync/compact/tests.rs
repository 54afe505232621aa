use super::*;
use crate::sync::segments::ListedDocument;

fn written(key: &str, documents: &[&str]) -> WrittenSegment {
    let list: Vec<ListedDocument> = documents
        .iter()
        .map(|id| ListedDocument {
            document_id: (*id).into(),
            passages: 2,
        })
        .collect();
    let segment = ManifestSegment {
        key: key.into(),
        sha256: String::new(),
        bytes: 0,
        passages: list.len() as u32 * 2,
        documents: list.len() as u32,
        dead_documents: Vec::new(),
        dead_passages: 0,
        dead_since_ms: 0,
        first: Vec::new(),
    };
    WrittenSegment { segment, list }
}

fn edition(written: &[WrittenSegment]) -> Edition {
    let segments = written.iter().map(|written| written.segment.clone());
    Edition::empty("m", 4).succeed(segments.collect(), 1)
}

#[test]
fn the_merged_stand_in_the_place_of_the_chosen() {
    let (a, b, c) = (
        written("a", &["s.1", "s.2"]),
        written("b", &["s.3"]),
        written("c", &["s.4"]),
    );
    let current = edition(&[a.clone(), b.clone(), c.clone()]);
    let merged = written("m", &["s.1", "s.2", "s.3"]);
    let chosen = [a.segment, b.segment];
    let check = |gone: &[&str], keys: &[&str], documents: u64, retired: &[&str]| {
        let gone: Vec<String> = gone.iter().map(|id| (*id).to_owned()).collect();
        let next = successor(
            current.clone(),
            &chosen,
            std::slice::from_ref(&merged),
            &gone,
            9,
        );
        let live: Vec<&str> = next
            .manifest
            .segments
            .iter()
            .map(|segment| segment.key.as_str())
            .collect();
        assert_eq!(live, keys);
        assert_eq!(
            (next.manifest.version, next.manifest.documents),
            (2, documents)
        );
        for key in retired {
            assert!(next.has_retired(key), "{key}");
        }
        assert_eq!(next.ledger.retired.len(), retired.len());
        assert_eq!(next.ledger.members.contains_key("m"), keys.contains(&"m"));
    };
    let old = ["a", "a.documents.json", "b", "b.documents.json"];
    check(&[], &["c", "m"], 4, &old);
    // A document that died while the merge ran is dead in what was merged.
    check(&["s.2"], &["c", "m"], 3, &old);
    let all = [&old[..], &["m", "m.documents.json"]].concat();
    check(&["s.1", "s.2", "s.3"], &["c"], 1, &all);
}

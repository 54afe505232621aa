use super::*;

fn segment(key: &str, documents: u32, dead: &[u32]) -> ManifestSegment {
    ManifestSegment {
        key: key.into(),
        sha256: String::new(),
        bytes: 1,
        passages: documents * 2,
        documents,
        dead_documents: dead.to_vec(),
        dead_passages: dead.len() as u32 * 2,
        dead_since_ms: 0,
        first: Vec::new(),
    }
}

#[test]
fn what_is_not_named_any_more_is_retired_once() {
    let mut first =
        Edition::empty("m", 4).succeed(vec![segment("a", 3, &[]), segment("b", 2, &[1])], 10);
    first.objects = vec!["body-1".into()];
    assert_eq!((first.manifest.version, first.manifest.documents), (1, 4));
    assert_eq!(first.manifest.passages, 8);
    assert!(first.names("a") && first.names("a.documents.json") && first.names("body-1"));
    first
        .ledger
        .members
        .insert("b".into(), Members::of(["x"].into_iter()));

    let second = first.succeed(vec![segment("a", 3, &[]), segment("c", 1, &[])], 20);
    let keys: Vec<_> = second
        .ledger
        .retired
        .iter()
        .map(|retired| (retired.key.as_str(), retired.retired_at_ms))
        .collect();
    assert_eq!(keys, [("b", 20), ("b.documents.json", 20), ("body-1", 20)]);
    assert!(second.ledger.members.is_empty());
    assert!(second.has_retired("b") && !second.names("b") && second.names("c"));

    let third = second.succeed(vec![segment("a", 3, &[])], 30);
    let times: Vec<u64> = third
        .ledger
        .retired
        .iter()
        .map(|retired| retired.retired_at_ms)
        .collect();
    assert_eq!(times, [20, 20, 20, 30, 30]);
}

#[test]
fn a_body_of_another_content_is_refused() {
    let text = r#"{"recent_runs":[],"retired":[],"members":{}}"#;
    let sha256 = sha256_hex(text.as_bytes());
    assert_eq!(
        parse::<Ledger>(text.as_bytes(), "ledger", &sha256).unwrap(),
        Ledger::default()
    );
    let check = |bytes: &[u8], sha256: &str, part: &str| {
        let error = parse::<Ledger>(bytes, "ledger", sha256).unwrap_err();
        assert_eq!(error.name(), "StoredDataDamaged");
        assert!(error.to_string().contains(part), "{error}");
    };
    check(b"{}", &sha256, "checksum");
    check(b"{", &sha256_hex(b"{"), "EOF");
}

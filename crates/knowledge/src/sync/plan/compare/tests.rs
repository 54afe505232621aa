use super::*;

fn row(name: &str, status: DocumentStatus, version: Option<&str>) -> DocumentRow {
    let mut row = DocumentRow::new(format!("s.{name}"), name.into(), 0);
    row.status = status;
    row.published = version.map(|version| PublishedVersion {
        content_hash: "h".into(),
        source_version: version.into(),
        title: name.into(),
        ..PublishedVersion::default()
    });
    row
}

fn sources(held: &[(&str, &str)]) -> Sources {
    let source = |name: &str, etag: &str| SourceObject {
        name: name.into(),
        bytes: 1,
        etag: etag.into(),
        sidecar_etag: None,
    };
    held.iter()
        .map(|(name, etag)| (format!("s.{name}"), source(name, etag)))
        .collect()
}

fn wanted(all: bool) -> Wanted {
    Wanted {
        all,
        vectors: None,
        settled_deletions: BTreeSet::new(),
        chunking: Chunking::default(),
    }
}

fn compare(wanted: Wanted, rows: Vec<DocumentRow>, sources: Sources) -> Difference {
    compare_without(wanted, rows, sources, &[])
}

/// As [`compare`], where sources could not give these.
fn compare_without(
    wanted: Wanted,
    rows: Vec<DocumentRow>,
    sources: Sources,
    not_given: &[&str],
) -> Difference {
    let not_given = not_given.iter().map(|name| BatchDocument {
        document_id: format!("s.{name}"),
        name: (*name).into(),
        status: DocumentStatus::Failed,
        error: Some("SourceUnavailable".into()),
        reason: Some("later".into()),
        version: None,
    });
    let mut comparison = Comparison::begin(wanted, sources, not_given.collect());
    rows.into_iter().for_each(|row| comparison.add(row));
    comparison.finish()
}

#[test]
fn documents_are_sorted_into_the_plan() {
    // (row's status and published version, the source's ETag) → (to process, unchanged, to delete)
    let sorted = |all, status, version, etag: Option<&str>, expected: (usize, u64, usize)| {
        let held: Vec<_> = etag.iter().map(|etag| ("a", *etag)).collect();
        let rows = vec![row("a", status, version)];
        let plan = compare(wanted(all), rows, sources(&held));
        let found = (plan.work.len(), plan.unchanged, plan.gone.len());
        assert_eq!(found, expected, "{status:?} {version:?} {etag:?}");
    };
    let check = |status, version, etag, expected| sorted(false, status, version, etag, expected);
    use DocumentStatus::{Deleted, Failed, Pending, Published, Refused};
    check(Pending, None, Some("e"), (1, 0, 0));
    check(Published, Some("e-1-none"), Some("e"), (0, 1, 0));
    check(Published, Some("e-1-none"), Some("changed"), (1, 0, 0));
    check(Published, Some("e-1-other sidecar"), Some("e"), (1, 0, 0));
    check(Failed, Some("e-1-none"), Some("e"), (1, 0, 0));
    check(Refused, None, Some("e"), (1, 0, 0));
    check(Published, Some("e-1-none"), None, (0, 0, 1));
    check(Pending, None, None, (0, 0, 1));
    check(Deleted, None, None, (0, 0, 0));
    check(Deleted, None, Some("e"), (1, 0, 0));
    sorted(true, Published, Some("e-1-none"), Some("e"), (1, 0, 0));
    sorted(true, Published, Some("e-1-none"), None, (0, 0, 1));
    sorted(true, Deleted, None, None, (0, 0, 0));
}

#[test]
fn a_document_that_is_to_be_cut_otherwise_is_done_again() {
    let mut otherwise = row("a", DocumentStatus::Published, Some("e-1-none"));
    if let Some(live) = &mut otherwise.published {
        live.chunking = Chunking::None;
    }
    let plan = compare(wanted(false), vec![otherwise], sources(&[("a", "e")]));
    assert_eq!(plan.work[0].change, Change::Rechunked);
    assert_eq!(plan.work[0].planned.chunking, Chunking::default());
}

#[test]
fn changes_are_told_by_kind() {
    let held = [
        // No row names it yet.
        ("newest", "7"),
        ("new", "1"),
        ("changed", "2"),
        ("moved-to", "3"),
        ("same", "4"),
    ];
    let published = |name: &str, version: &str| row(name, DocumentStatus::Published, Some(version));
    let rows = vec![
        row("new", DocumentStatus::Pending, None),
        published("changed", "0-1-none"),
        row("moved-to", DocumentStatus::Pending, None),
        published("moved-from", "3-1-none"),
        published("gone", "5-1-none"),
        row("refused", DocumentStatus::Refused, None),
        published("same", "4-1-none"),
    ];
    let plan = compare(wanted(false), rows, sources(&held));
    let mut told: Vec<(Change, &str, Option<&str>)> = plan
        .told()
        .iter()
        .map(|one| (one.change, one.name, one.renamed_from))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            (Change::New, "new", None),
            (Change::New, "newest", None),
            (Change::Changed, "changed", None),
            (Change::Renamed, "moved-to", Some("moved-from")),
            (Change::Deleted, "gone", None),
            (Change::Deleted, "refused", None),
        ]
    );
    let ids: Vec<&str> = plan
        .work
        .iter()
        .map(|one| one.planned.document_id.as_str())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    // A document that was moved is deleted under its old name all the same.
    assert_eq!((plan.gone.len(), plan.unchanged, plan.live), (3, 1, 4));
    // What never answered is no loss, nor is what answers under another name.
    assert_eq!(plan.lost, 1);
    let renamed: Vec<_> = plan
        .renamed
        .iter()
        .map(|one| (one.from.as_str(), one.to.name.as_str()))
        .collect();
    assert_eq!(renamed, [("s.moved-from", "moved-to")]);
}

#[test]
fn what_a_source_could_not_give_stays_as_it_is() {
    // (the row's published version, if there is a row; the copy's ETag) → (set aside, of these live, worked on, gone)
    let check = |version: Option<Option<&str>>,
                 copy: Option<&str>,
                 expected: (usize, usize, usize, usize)| {
        let held: Vec<_> = copy.iter().map(|etag| ("a", *etag)).collect();
        let status = DocumentStatus::Published;
        let rows: Vec<_> = version
            .iter()
            .map(|version| row("a", status, *version))
            .collect();
        let plan = compare_without(wanted(false), rows, sources(&held), &["a"]);
        let aside = (plan.not_given.len(), plan.not_given_live.len());
        let found = (aside.0, aside.1, plan.work.len(), plan.gone.len());
        assert_eq!(found, expected, "{version:?} {copy:?}");
    };
    check(Some(Some("e-1-none")), Some("e"), (1, 1, 0, 0));
    check(Some(Some("e-1-none")), None, (1, 1, 0, 0));
    // The copy is not what is published: that is not what failed.
    check(Some(Some("old-1-none")), Some("e"), (0, 0, 1, 0));
    check(Some(None), Some("e"), (0, 0, 1, 0));
    check(None, Some("e"), (0, 0, 1, 0));
    // A document that is not there yet has nothing to stay.
    check(Some(None), None, (1, 0, 0, 0));
    check(None, None, (1, 0, 0, 0));
}

/// Who uploaded a document again while a run looked at the source had it taken out of the index.
#[test]
fn what_another_run_has_taken_over_since_is_not_taken_out() {
    // (whose the row was at the comparison, whose it is now) → whether it goes
    let check = |before: Option<&str>, now: Option<&str>, goes: bool| {
        let of = |run_id: Option<&str>| DocumentRow {
            run_id: run_id.map(str::to_owned),
            ..row("a", DocumentStatus::Published, Some("v"))
        };
        let plan = compare(wanted(false), vec![of(before)], sources(&[]));
        let taken = plan.gone[0].taken_by("s.run", of(now));
        assert_eq!(taken.is_some(), goes, "{before:?} {now:?}");
        if let Some(row) = taken {
            assert_eq!((row.run_id.as_deref(), row.leaves), (Some("s.run"), true));
            assert!(row.published.is_some());
        }
    };
    check(None, None, true);
    check(Some("s.before"), Some("s.before"), true);
    // A plan that broke off is made again.
    check(Some("s.run"), Some("s.run"), true);
    check(None, Some("s.other"), false);
    check(Some("s.before"), Some("s.other"), false);
}

#[test]
fn a_document_without_the_vectors_that_are_wanted_is_done_again() {
    let keys = |keys: &[&str]| RetrieverSetting::Dynamodb {
        filter_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    let check = |has: Option<RetrieverSetting>, vectors: Option<RetrieverSetting>, done: bool| {
        let mut row = row("a", DocumentStatus::Published, Some("v"));
        if let Some(published) = &mut row.published {
            published.vectors = has;
        }
        let wanted = Wanted {
            vectors,
            ..wanted(false)
        };
        assert_eq!(is_unchanged(&row, "v", &wanted), done);
    };
    check(None, None, true);
    check(None, Some(keys(&[])), false);
    check(Some(keys(&[])), Some(keys(&[])), true);
    check(Some(keys(&[])), Some(keys(&["team"])), false);
    check(Some(keys(&[])), None, true);
}

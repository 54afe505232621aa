//! Segment files that an earlier process left: found again, checked, brought anew where they are damaged, and let go of.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws::config::IndexSettings;
use aws::dynamo::keys;
use knowledge::digest::sha256_hex;
use knowledge::snapshot::{ColdReads, Snapshots};
use retrieval::segment::{Head, Section};
use serde_json::{Value, json};

use super::parts::{KEY, large_segment, on_disk, publish, search};
use super::{Space, found, texts};
use crate::instance::Instance;

const NOTHING_READ: ColdReads = ColdReads {
    rounds: 0,
    bytes: 0,
};

fn folder(space: &Space) -> PathBuf {
    space.folder.path().join("outcrop-index")
}

/// The whole segments that lie in a temporary folder.
fn left(space: &Space) -> Vec<PathBuf> {
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let all = files(&folder(space));
    let all = all.iter().flat_map(|one| files(one));
    let mut left: Vec<PathBuf> = all
        .filter(|path| path.extension().unwrap() == "seg")
        .collect();
    left.sort();
    left
}

/// Waits until so many are there.
async fn wait_for(space: &Space, count: usize) -> Vec<PathBuf> {
    loop {
        let left = left(space);
        if left.len() == count {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until no more than so many are in use: what a search has let go of may still be compared with its hash beside.
async fn wait_for_use(space: &Space, count: usize) {
    let in_use = |path: &PathBuf| {
        let file = std::fs::File::open(path);
        file.is_ok_and(|file| file.try_lock().is_err())
    };
    while left(space).iter().filter(|path| in_use(path)).count() > count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A space with one large segment, which a first process has asked and left.
async fn asked(instance: &Instance) -> (Space, Vec<u8>, PathBuf) {
    let space = Space::on(instance, "parts");
    let bytes = large_segment();
    publish(&space, &bytes).await;
    let first = on_disk(&space);
    search(&space, &first, 5).await.unwrap();
    let left = wait_for(&space, 1).await.remove(0);
    assert_eq!(std::fs::read(&left).unwrap(), bytes);
    (space, bytes, left)
}

#[tokio::test]
async fn a_second_process_brings_nothing() {
    let instance = Instance::start().await;
    let (space, _, _) = asked(&instance).await;
    let first = on_disk(&space);
    let before = search(&space, &first, 50).await.unwrap();
    space.aws.bucket.delete(KEY).await.unwrap();
    // Beside the first, and after it.
    for first in [Some(first), None] {
        let second = on_disk(&space);
        assert_eq!(search(&space, &second, 50).await.unwrap(), before);
        assert_eq!(space.current(&second).await.cold_reads(), NOTHING_READ);
        // What no search asked for is there too.
        space.current(&second).await.whole().await.unwrap();
        drop(first);
    }
    // Nobody else may read or write there.
    let mode = std::fs::metadata(folder(&space)).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn what_is_damaged_is_brought_anew() {
    let instance = Instance::start().await;
    let (space, bytes, path) = asked(&instance).await;
    let expected = search(&space, &on_disk(&space), 50).await.unwrap();
    let texts = Head::parse(&bytes).unwrap().range(Section::Passages);
    let codes = Head::parse(&bytes).unwrap().range(Section::Bits);
    let flip = |range: std::ops::Range<u64>| {
        let mut damaged = bytes.clone();
        let range = range.start as usize..range.end as usize;
        damaged[range].iter_mut().for_each(|byte| *byte ^= 0x55);
        damaged
    };
    // As a process that was killed, a full disk or a failing one leave it. Of the first two a part is brought.
    let cases = [
        ("texts", flip(texts.clone()), true),
        ("codes", flip(codes.start..codes.start + 1), true),
        ("head", flip(40..41), false),
        ("zeros", vec![0; bytes.len()], false),
        ("half", bytes[..bytes.len() / 2].to_vec(), false),
        ("nothing", Vec::new(), false),
    ];
    for (name, damaged, in_place) in cases {
        std::fs::write(&path, damaged).unwrap();
        let snapshots = on_disk(&space);
        assert_eq!(
            search(&space, &snapshots, 50).await.unwrap(),
            expected,
            "{name}"
        );
        let snapshot = space.current(&snapshots).await;
        let read = snapshot.cold_reads().bytes;
        assert!(read > 0, "{name}");
        snapshot.whole().await.unwrap();
        if in_place {
            assert!(read < bytes.len() as u64 / 2, "{name}: {read}");
        }
        while std::fs::read(&path).ok().as_ref() != Some(&bytes) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // A damaged file and no object to bring it from: that is told.
    std::fs::write(&path, flip(texts)).unwrap();
    space.aws.bucket.delete(KEY).await.unwrap();
    let error = search(&space, &on_disk(&space), 50).await.unwrap_err();
    assert_eq!(error, "StoredItemMissing");
}

#[tokio::test]
async fn files_of_others_are_not_taken() {
    let instance = Instance::start().await;
    let (space, bytes, path) = asked(&instance).await;
    space.aws.bucket.delete(KEY).await.unwrap();
    let unreadable = async |space: &Space, name: &str| {
        let error = search(space, &on_disk(space), 5).await.unwrap_err();
        assert_eq!(error, "IndexUnreadable", "{name}");
    };
    // Another space, which names the same bytes.
    let other = Space {
        name: "other",
        ..Space::on(&instance, "other")
    };
    publish(&other, &bytes).await;
    other.aws.bucket.delete(KEY).await.unwrap();
    let other = Space {
        aws: aws::Aws::new(space.aws.settings.clone()),
        ..other
    };
    unreadable(&other, "another space").await;

    // Another stack.
    let place = path.parent().unwrap();
    let foreign = folder(&space).join("0".repeat(32));
    std::fs::rename(place, &foreign).unwrap();
    unreadable(&space, "another stack").await;
    std::fs::remove_dir_all(place).unwrap();
    std::fs::rename(&foreign, place).unwrap();
    assert_eq!(search(&space, &on_disk(&space), 5).await.unwrap().len(), 5);

    // A folder that others may write to, and a link to one.
    std::fs::set_permissions(folder(&space), PermissionsExt::from_mode(0o777)).unwrap();
    unreadable(&space, "a folder for everyone").await;
    let elsewhere = space.folder.path().join("elsewhere");
    std::fs::rename(folder(&space), &elsewhere).unwrap();
    std::fs::set_permissions(&elsewhere, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder(&space)).unwrap();
    unreadable(&space, "a link").await;
    // What is used instead keeps no file, and goes with its process.
    space.aws.bucket.put(KEY, bytes).await.unwrap();
    let snapshots = on_disk(&space);
    assert_eq!(search(&space, &snapshots, 5).await.unwrap().len(), 5);
    let snapshot = space.current(&snapshots).await;
    snapshot.whole().await.unwrap();
    drop((snapshot, snapshots));
    let entries = || std::fs::read_dir(space.folder.path()).unwrap().count();
    while entries() > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn small_segments_are_left_too_and_go_when_no_manifest_names_them() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "default");
    space.ingest(&[("a.txt", "The old text of granite.")]).await;
    let snapshots = Snapshots::new(&space.aws.settings.index).unwrap();
    space.current(&snapshots).await;
    let old = wait_for(&space, 1).await;
    let key = space.manifest().await.segments[0].key.clone();
    let whole = space.aws.bucket.get(&key).await.unwrap();
    space.aws.bucket.delete(&key).await.unwrap();
    let second = Snapshots::new(&space.aws.settings.index).unwrap();
    let granite = found(&*space.current(&second).await, "granite");
    assert_eq!(granite, texts(&["The old text of granite."]));
    space.aws.bucket.put(&key, whole).await.unwrap();

    // Whoever is told of the next version forgets what the document said before.
    space.ingest(&[("a.txt", "The new text of granite.")]).await;
    assert_eq!(space.manifest().await.segments.len(), 1);
    let granite = found(&*space.current(&second).await, "granite");
    assert_eq!(granite, texts(&["The new text of granite."]));
    loop {
        let new = wait_for(&space, 1).await;
        if new != old {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_was_left_is_bounded() {
    let instance = Instance::start().await;
    let bytes = large_segment();
    let (one, two) = (Space::on(&instance, "one"), Space::on(&instance, "two"));
    for space in [&one, &two] {
        publish(space, &bytes).await;
    }
    let two = Space {
        aws: aws::Aws::new(one.aws.settings.clone()),
        ..two
    };
    let snapshots = |segments: u64| {
        Snapshots::new(&IndexSettings {
            memory_bytes: 0,
            disk_bytes: bytes.len() as u64 * segments,
            ..one.aws.settings.index.clone()
        })
        .unwrap()
    };
    let ask = async |space: &Space, segments: u64| {
        let snapshots = snapshots(segments);
        search(space, &snapshots, 5).await.unwrap();
        space.current(&snapshots).await.whole().await.unwrap();
        snapshots
    };
    ask(&one, 2).await;
    let first = wait_for(&one, 1).await;
    ask(&two, 2).await;
    wait_for(&one, 2).await;
    // Asked again, the first is not the one that was used longest ago.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let in_use = ask(&one, 2).await;
    let second = Space {
        name: "three",
        ..Space::on(&instance, "three")
    };
    publish(&second, &bytes).await;
    let three = Space {
        aws: aws::Aws::new(one.aws.settings.clone()),
        ..second
    };
    wait_for_use(&one, 1).await;
    ask(&three, 2).await;
    let left = wait_for(&one, 2).await;
    assert!(left.contains(&first[0]), "{left:?}");
    // With room for one, only what is in use stays beside it.
    let other = Space::on(&instance, "four");
    publish(&other, &bytes).await;
    let four = Space {
        aws: aws::Aws::new(one.aws.settings.clone()),
        ..other
    };
    wait_for_use(&one, 1).await;
    ask(&four, 1).await;
    let left = wait_for(&one, 2).await;
    assert!(left.contains(&first[0]), "{left:?}");
    drop(in_use);
    wait_for_use(&one, 0).await;
    ask(&two, 1).await;
    wait_for(&one, 1).await;
}

#[tokio::test]
async fn two_processes_may_begin_at_once() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "parts");
    let bytes = large_segment();
    publish(&space, &bytes).await;
    let all: Vec<Snapshots> = (0..4).map(|_| on_disk(&space)).collect();
    let searches = all.iter().map(|snapshots| search(&space, snapshots, 20));
    let found = futures_util::future::try_join_all(searches).await.unwrap();
    assert!(found.iter().all(|hits| hits == &found[0]));
    let left = wait_for(&space, 1).await;
    for snapshots in &all {
        space.current(snapshots).await.whole().await.unwrap();
    }
    assert_eq!(std::fs::read(&left[0]).unwrap(), bytes);
    let last = on_disk(&space);
    assert_eq!(search(&space, &last, 20).await.unwrap(), found[0]);
    assert_eq!(space.current(&last).await.cold_reads(), NOTHING_READ);
}

/// What a manifest names is no path.
#[tokio::test]
async fn a_hash_that_is_none_names_no_file() {
    let instance = Instance::start().await;
    let space = Space::on(&instance, "parts");
    let bytes = large_segment();
    publish(&space, &bytes).await;
    let key = keys::manifest(space.name);
    let mut row: Value = space.aws.table.get(&key).await.unwrap().unwrap();
    let body = row["body"].as_str().unwrap();
    let body = body.replace(&sha256_hex(&bytes), "../../elsewhere");
    row["body_sha256"] = json!(sha256_hex(body.as_bytes()));
    row["body"] = json!(body);
    space.aws.table.put(&key, &row).await.unwrap();
    assert!(search(&space, &on_disk(&space), 5).await.is_err());
    let left = std::fs::read_dir(space.folder.path()).unwrap();
    assert_eq!(left.count(), 1);
}

use std::path::PathBuf;

use super::*;

#[test]
fn shares_are_even() {
    let text = |length: usize| vec![0; length];
    let texts: Vec<Vec<u32>> = [9, 3, 5, 1, 8, 2].map(text).into();
    let check = |cores: usize, rows: &[usize]| {
        let shares = shares(&texts, cores);
        let found: Vec<usize> = shares
            .iter()
            .map(|share| share.iter().map(|at| texts[*at].len()).sum())
            .collect();
        assert_eq!(found, rows, "{shares:?}");
        let mut all: Vec<usize> = shares.concat();
        all.sort_unstable();
        assert_eq!(all, (0..texts.len()).collect::<Vec<_>>());
    };
    check(1, &[28]);
    check(2, &[14, 14]);
    check(9, &[9, 8, 5, 3, 2, 1]);
    assert_eq!(super::shares(&[], 2), [Vec::<usize>::new()]);
}

#[test]
fn a_text_is_framed_and_cut() {
    assert_eq!(token_ids(""), [wordpiece::CLASSIFY, wordpiece::SEPARATE]);
    let long = token_ids(&"lighthouse ".repeat(1_000));
    assert_eq!(
        (long.len(), long[MAX_TOKENS - 1]),
        (MAX_TOKENS, wordpiece::SEPARATE)
    );
    assert_eq!(token_count("two words"), 4);
}

#[test]
fn other_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(WEIGHTS_FILE);
    let check = |bytes: Option<&[u8]>, name: &str, words: &str| {
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let error = MiniLm::open(folder.path()).unwrap_err();
        assert_eq!(error.name(), name, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    check(None, "WeightsUnreadable", "outcrop models add minilm");
    assert_eq!(check_file(&path).unwrap_err().name(), "WeightsUnreadable");
    check(
        Some(b"not weights"),
        "WeightsNotMiniLm",
        "is not all-MiniLM-L6-v2",
    );
    assert_eq!(check_file(&path).unwrap_err().name(), "WeightsChecksum");
    let tensors = |header: &str, numbers: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(std::iter::repeat_n(0, numbers));
        bytes
    };
    let none = tensors("{}      ", 0);
    check(
        Some(&none),
        "WeightsNotMiniLm",
        "it has no embeddings.word_embeddings.weight",
    );
    let small = r#"{"embeddings.word_embeddings.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}} "#;
    check(
        Some(&tensors(small, 8)),
        "WeightsNotMiniLm",
        "F32 [1, 2], not F32 [30522, 384]",
    );
}

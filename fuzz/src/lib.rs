//! The stream window under any bytes: a text, its split into deltas, and what a guard would mask.
//!
//! `window` is the crate's own file; the two names that it takes from `verdict` are given here as they stand there.

pub mod verdict {
    use std::ops::Range;

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Edit {
        pub range: Range<usize>,
        pub placeholder: String,
    }

    /// As in `guard/verdict.rs`.
    pub fn merged(mut edits: Vec<Edit>) -> Vec<Edit> {
        edits.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end)));
        let mut merged: Vec<Edit> = Vec::new();
        for edit in edits {
            match merged.last_mut() {
                Some(last) if edit.range.start < last.range.end => {
                    last.range.end = last.range.end.max(edit.range.end);
                }
                _ => merged.push(edit),
            }
        }
        merged
    }
}

#[path = "../../crates/knowledge/src/guard/window.rs"]
pub mod window;

use std::ops::Range;

use verdict::Edit;
use window::{Sizes, TooLate, Window};

/// Six bytes of settings and secrets' places, the rest is the text; each byte of the text decides too whether a delta ends.
pub fn check(data: &[u8]) {
    let Some((head, rest)) = data.split_at_checked(14) else {
        return;
    };
    let text = String::from_utf8_lossy(&rest[..rest.len().min(1_500)]).into_owned();
    let sizes = Sizes {
        ahead: 1 + usize::from(head[0]) % 64,
        behind: usize::from(head[1]) % 128,
        piece: 1 + usize::from(head[2]) % 64,
        patience: 1 + usize::from(head[3]) % 128,
        // A single word longer than one check may be cut; shorter texts have none.
        check: 6_000,
    };
    let bounds: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
    let place = |pair: &[u8]| {
        let start = usize::from(pair[0]) * bounds.len() / 256;
        let end = (start + usize::from(pair[1]) % 80).min(bounds.len() - 1);
        bounds[start]..bounds[end]
    };
    let secrets: Vec<Range<usize>> = head[4..].chunks(2).map(place).filter(|secret| !secret.is_empty()).collect();
    let is_break = |c: char| c.is_whitespace() || matches!(c, '。' | '！' | '？');
    let promised = |secret: &Range<usize>| secret.len() <= sizes.ahead || !text[secret.clone()].contains(is_break);

    let mut window = Window::new(sizes);
    let (mut at, mut shown, mut late) = (0, 0, false);
    'stream: for (&bound, next) in bounds.iter().zip(1..) {
        let ended = next == bounds.len();
        let cuts = text.as_bytes().get(bound).is_some_and(|byte| byte % 3 == 0);
        if !ended && !cuts {
            continue;
        }
        window.push(&text[at..bound]);
        at = bound;
        while let Some(probe) = window.next(ended) {
            let reads = &probe.reads;
            let seen = secrets.iter().filter(|secret| secret.start >= reads.start && secret.end <= reads.end);
            let edits: Vec<Edit> = seen
                .map(|secret| Edit {
                    range: secret.start - reads.start..secret.end - reads.start,
                    placeholder: "{X}".into(),
                })
                .collect();
            match window.release(&probe, &edits) {
                Ok(pieces) => {
                    for piece in pieces {
                        assert_eq!(piece.raw.start, shown, "a gap");
                        shown = piece.raw.end;
                        let leaks = |secret: &&Range<usize>| piece.raw.start < secret.end && secret.start < piece.raw.end;
                        let leak = secrets.iter().filter(|secret| promised(secret)).find(leaks);
                        assert!(piece.masked || leak.is_none(), "{leak:?} in {piece:?} of {text:?}");
                    }
                }
                Err(TooLate) => {
                    late = true;
                    break 'stream;
                }
            }
        }
    }
    assert!(late || shown == text.len(), "text was kept back");
    assert!(!late || secrets.iter().any(|secret| !promised(secret)), "a promised find came too late");
}

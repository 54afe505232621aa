use proptest::prelude::*;

use super::*;

const SIZES: Sizes = Sizes {
    ahead: 12,
    behind: 24,
    piece: 16,
    patience: 40,
    check: 400,
};

/// A guard that knows what is secret in the whole text and, like any guard, sees only what it is shown.
fn edits(secrets: &[Range<usize>], reads: &Range<usize>) -> Vec<Edit> {
    let seen = secrets
        .iter()
        .filter(|secret| secret.start >= reads.start && secret.end <= reads.end);
    seen.map(|secret| Edit {
        range: secret.start - reads.start..secret.end - reads.start,
        placeholder: "{X}".into(),
    })
    .collect()
}

/// Streams a text through a window; answers the pieces, and whether the window ended the stream.
fn stream(
    sizes: Sizes,
    text: &str,
    cuts: &[usize],
    secrets: &[Range<usize>],
) -> (Vec<Piece>, bool) {
    let mut window = Window::new(sizes);
    let mut pieces = Vec::new();
    let mut at = 0;
    let ends = cuts.iter().copied().chain([text.len()]);
    for end in ends {
        window.push(&text[at..end]);
        at = end;
        let ended = end == text.len();
        while let Some(probe) = window.next(ended) {
            match window.release(&probe, &edits(secrets, &probe.reads)) {
                Ok(released) => pieces.extend(released),
                Err(TooLate) => return (pieces, true),
            }
        }
    }
    (pieces, false)
}

fn shown(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

/// Text, places where it is cut into deltas, and secrets in it, all at character boundaries.
fn streams() -> impl Strategy<Value = (String, Vec<usize>, Vec<Range<usize>>)> {
    let text = prop_oneof![
        "(?s)[a-d@.! \n。ä]{0,200}",
        "([a-z]{1,9}[ .]{1,2}){0,40}",
        "(?s).{0,120}",
        "[a-z@.]{0,200}",
    ];
    let places = prop::collection::vec((any::<prop::sample::Index>(), 0usize..60), 0..6);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..40);
    (text, cuts, places).prop_map(|(text, cuts, places)| {
        let bounds: Vec<usize> = (0..=text.len())
            .filter(|at| text.is_char_boundary(*at))
            .collect();
        let mut cuts: Vec<usize> = cuts
            .iter()
            .map(|cut| bounds[cut.index(bounds.len())])
            .collect();
        cuts.sort_unstable();
        let secrets = places.iter().map(|(place, length)| {
            let start = place.index(bounds.len());
            bounds[start]..bounds[(start + length).min(bounds.len() - 1)]
        });
        let secrets = secrets.filter(|secret| !secret.is_empty()).collect();
        (text, cuts, secrets)
    })
}

/// Whether the window promises never to show a byte of it.
fn is_promised(text: &str, secret: &Range<usize>) -> bool {
    secret.len() <= SIZES.ahead || !text[secret.clone()].contains(is_break)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// For any text, any split into deltas and any findings: no byte of a masked range is released.
    #[test]
    fn no_masked_byte_is_released((text, cuts, secrets) in streams()) {
        let (pieces, _) = stream(SIZES, &text, &cuts, &secrets);
        for secret in secrets.iter().filter(|secret| is_promised(&text, secret)) {
            for piece in pieces.iter().filter(|piece| !piece.masked) {
                let apart = piece.raw.end <= secret.start || piece.raw.start >= secret.end;
                prop_assert!(apart, "{secret:?} leaks in {piece:?} of {text:?}");
            }
        }
    }

    /// What is released is the text in order, without a gap, and all of it unless a find came too late.
    #[test]
    fn everything_else_is_released((text, cuts, secrets) in streams()) {
        let (pieces, late) = stream(SIZES, &text, &cuts, &secrets);
        let mut at = 0;
        for piece in &pieces {
            prop_assert_eq!(piece.raw.start, at);
            at = piece.raw.end;
            let hidden = secrets.iter().any(|secret| piece.raw.start < secret.end && secret.start < piece.raw.end);
            prop_assert!(hidden || !piece.masked);
            prop_assert!(piece.masked || piece.text == text[piece.raw.clone()]);
        }
        prop_assert!(late || at == text.len());
        if secrets.iter().all(|secret| is_promised(&text, secret)) {
            prop_assert!(!late, "a promised find never comes too late");
        }
    }

    /// How the text was cut into deltas changes nothing of what is read in the end.
    #[test]
    fn the_split_does_not_matter((text, cuts, _) in streams()) {
        prop_assert_eq!(shown(&stream(SIZES, &text, &cuts, &[]).0), text);
    }
}

#[test]
fn an_address_is_caught_over_any_two_deltas() {
    let text = "The desk answers mail. Write to ann@example.com or to Bob. It opens at nine, and closes at five in the evening. \
        Nobody is there on Sundays, nor on holidays, nor in the second week of August.";
    let start = text.find("ann@").unwrap();
    let secret = start..start + "ann@example.com".len();
    let secrets = std::slice::from_ref(&secret);
    let sizes = Sizes {
        ahead: 40,
        ..Sizes::default()
    };
    for cut in 0..text.len() {
        let (pieces, late) = stream(sizes, text, &[cut], secrets);
        assert!(!late);
        assert_eq!(shown(&pieces), text.replace("ann@example.com", "{X}"));
    }
    let letters: Vec<usize> = (1..text.len()).collect();
    let (pieces, _) = stream(sizes, text, &letters, secrets);
    assert_eq!(shown(&pieces), text.replace("ann@example.com", "{X}"));
    assert!(pieces.len() > 2, "it was released in pieces: {pieces:?}");
}

#[test]
fn a_first_sentence_is_released_before_the_last_comes() {
    let mut window = Window::new(Sizes::default());
    window.push("A short sentence. ");
    assert_eq!(window.next(false), None, "what follows may belong to it");
    window.push(&"and more words ".repeat(10));
    let probe = window.next(false).unwrap();
    let pieces = window.release(&probe, &[]).unwrap();
    assert_eq!(shown(&pieces), "A short sentence. ");
}

#[test]
fn a_find_that_reaches_back_ends_the_stream() {
    let mut window = Window::new(SIZES);
    window.push("One two three. Four five six seven eight nine.");
    let probe = window.next(false).unwrap();
    window.release(&probe, &[]).unwrap();
    assert!(window.released() > 0);
    window.push(" Ten eleven twelve.");
    let probe = window.next(true).unwrap();
    let back = Edit {
        range: 0..probe.reads.len(),
        placeholder: "{X}".into(),
    };
    assert_eq!(window.release(&probe, &[back]), Err(TooLate));
}

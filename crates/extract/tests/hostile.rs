//! No input panics, and whatever is read keeps its promises.

use extract::{Limits, content_type, extract};
use proptest::prelude::*;

mod made;

const NAMES: [&str; 14] = [
    "a.txt", "a.md", "a.html", "a.xhtml", "a.json", "a.jsonl", "a.csv", "a.tsv", "a.pdf", "a.docx",
    "a.xlsx", "a.eml", "a", "",
];

/// Reads a document and checks what every extraction promises.
fn check(bytes: &[u8], name: &str) {
    let _ = content_type(name);
    let limits = Limits {
        max_nesting: 32,
        ..Limits::default()
    };
    let Ok(extracted) = extract(bytes, name, &limits) else {
        return;
    };
    assert!(!extracted.text.trim().is_empty());
    assert!(
        extracted
            .title
            .as_deref()
            .is_none_or(|title| !title.trim().is_empty())
    );
    let mut before = None;
    for heading in &extracted.headings {
        assert!((1..=6).contains(&heading.level));
        assert!(!heading.title.trim().is_empty() && !heading.title.contains('\n'));
        assert!(extracted.text.is_char_boundary(heading.start));
        assert!(heading.start < extracted.text.len(), "{heading:?}");
        assert!(
            before < Some(heading.start),
            "{heading:?} is not after {before:?}"
        );
        before = Some(heading.start);
    }
    assert!(extracted.pages.is_sorted());
    assert!(
        extracted
            .pages
            .iter()
            .all(|at| extracted.text.is_char_boundary(*at))
    );
}

/// Pieces of all the formats, put together in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            "<h1>", "</h1>", "<h2", ">", "<p>", "</p>", "<table>", "<tr>", "<td>", "</td>", "</table>",
            "<ul>", "<ol>", "<li>", "</ul>", "<pre>", "</pre>", "<script>", "</script>", "<title>", "</title>",
            "<svg>", "<br/>", "<div hidden>", "</div>", "<a class='headerlink'>", "</a>", "&amp;", "&#0;", "<!--",
            "-->", "<![CDATA[", "<!doctype html>", "<?xml", "?>", "\u{a0}", "\u{2003}", "¶", "<nav>", "</nav>",
        ]),
        4 => proptest::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\\", "\\u0041", "\\ud800", "null", "1e9", "-0.5", "true",
            "{\"title\":", "[{\"a\":1},", "\"name\":\"x\"}", "\"a,b\"\"c\"", ";", "\t", "|", "a;b;c\n",
        ]),
        3 => proptest::sample::select(vec![
            "# ", "## ", "\n===\n", "\n---\n", "---\ntitle: x\n---\n", "```", "> ", "- ", "    ", "\n", "\n\n",
            "\r\n", "[x]: y", "\u{feff}", "é", "日本", "word ", "\u{1}",
        ]),
        1 => any::<char>().prop_map(|c| Box::leak(c.to_string().into_boxed_str()) as &str),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A well-formed document with some bytes changed, dropped or doubled.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let seeds = proptest::sample::select(vec![
        include_str!("page.html").as_bytes().to_vec(),
        br#"{"title": "T", "list": [1, "two", {"three": [4, [5, {}]]}], "s": "\u00e9\n\"q\""}"#
            .to_vec(),
        b"[{\"name\": \"Ada\", \"x\": [1, 2]}, {\"name\": \"Alan\"}]".to_vec(),
        b"{\"a\": 1}\n{\"a\": {\"b\": \"c\"}}\n".to_vec(),
        b"name,city,note\nAda,\"London, Soho\",\"a \"\"b\"\"\"\nAlan,,\n".to_vec(),
        made::pdf(&[
            "BT /F 12 Tf 72 700 Td (Words) Tj [(a) -300 (b)] TJ 0 -14 Td <4142> Tj ET /X Do",
        ]),
        made::pdf(&[
            "q 1 0 0 1 0 0 cm BT (no font) Tj ET Q",
            "BT /F 9 Tf (second) ' ET",
        ]),
        made::docx(
            "<w:p><w:pPr><w:pStyle w:val='Heading1'/></w:pPr><w:r><w:t>One</w:t></w:r></w:p>",
        ),
        made::xlsx(
            "<row r='1'><c r='A1' t='inlineStr'><is><t>name</t></is></c><c r='B1'><v>1</v></c></row>",
        ),
        made::pptx(&["<p:sp><p:txBody><a:p><a:r><a:t>Slide</a:t></a:r></a:p></p:txBody></p:sp>"]),
        made::epub(&["<h1>Chapter</h1><p>Text"]),
        b"From: a@x.org\nTo: b@x.org\nSubject: x\nDate: Mon, 10 Jul 1843 10:00:00 +0000\n\nWords"
            .to_vec(),
    ]);
    let edits = proptest::collection::vec(
        (any::<proptest::sample::Index>(), 0..3_u8, any::<u8>()),
        0..12,
    );
    (seeds, edits).prop_map(|(mut bytes, edits)| {
        for (index, edit, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), name in ".{0,12}") {
        check(&bytes, &name);
        NAMES.iter().for_each(|name| check(&bytes, name));
    }

    #[test]
    fn any_pieces(text in pieces()) {
        NAMES.iter().for_each(|name| check(text.as_bytes(), name));
    }

    #[test]
    fn any_mutation(bytes in mutated()) {
        NAMES.iter().for_each(|name| check(&bytes, name));
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 2000..4000)) {
        let outcome = extract(&bytes, "noise.bin", &Limits::default());
        prop_assert!(outcome.is_err(), "{:?}", outcome);
    }
}

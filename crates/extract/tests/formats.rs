//! What each format is read as: one table of names, contents and outcomes, and one snapshot per format.

use extract::{Extracted, Format, Limits, extract};

fn read(bytes: &[u8], name: &str) -> Result<Extracted, String> {
    extract(bytes, name, &Limits::default()).map_err(|error| error.name().to_owned())
}

/// `Ok(format)` or `Err(error name)`.
fn check(name: &str, bytes: &[u8], expected: Result<Format, &str>) {
    let outcome = read(bytes, name).map(|extracted| extracted.format);
    assert_eq!(
        outcome,
        expected.map_err(str::to_owned),
        "{name}: {:?}",
        String::from_utf8_lossy(bytes)
    );
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
const ELF: &[u8] =
    b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0\xf0\x10\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\x38\0";
const PDF: &[u8] = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n";
const DOCX: &[u8] =
    b"PK\x03\x04\x14\0\0\0\x08\0\0\0!\0\0\0\0\0\0\0\0\0\0\0\0\0\x0b\0\0\0word/x.xml";

const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0\0\0\0\0";
const ENCRYPTED: &[u8] =
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0";
const MESSAGE: &[u8] = b"From: Ada <ada@example.org>\r\nTo: Charles <cb@example.org>\r\nSubject: The\r\n =?utf-8?q?engine=E2=80=99s?= notes\r\nDate: Mon, 10 Jul 1843 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nD=E9j=E0 vu.\r\n\r\nRegards\r\n--c\r\nContent-Type: text/html\r\n\r\n<p>Another form</p>\r\n--c--\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"notes.pdf\"\r\n\r\nx\r\n--b--\r\n";

const MEMO: &[u8] = b"To: All staff\nFrom: The director\nDate: 1 May 2026\nSubject: Parking\n\nThe car park is closed.\n";
const ADDRESSED: &[u8] = b"To: all@example.org\nFrom: director@example.org\nDate: 1 May 2026\nSubject: Parking\n\nThe car park is closed.\n";
const YAML: &[u8] = b"from: alerts@example.org\nto: team@example.org\nsubject: Disk is full\ndate: now\ncc: nobody\n";
const MAILBOX: &[u8] = b"From ada@example.org Mon Jul 10 10:00:00 1843\nFrom: Ada <ada@example.org>\nMessage-ID: <1@example.org>\nDate: Mon, 10 Jul 1843 10:00:00 +0000\nSubject: Notes\n\nOn the engine.\n>From here on more.\n\nFrom cb@example.org Tue Jul 11 10:00:00 1843\nFrom: Charles <cb@example.org>\nMessage-ID: <2@example.org>\nDate: Tue, 11 Jul 1843 10:00:00 +0000\nSubject: Re: Notes\n\nThank you.\n";

#[test]
fn the_content_decides_and_the_name_is_a_hint() {
    use Format::{Csv, Email, Html, Json, Markdown, Text};
    let cases: &[(&str, &[u8], Result<Format, &str>)] = &[
        ("notes.txt", b"Some words.", Ok(Text)),
        ("README", b"Some words.", Ok(Text)),
        ("main.rs", b"fn main() {}", Ok(Text)),
        ("notes.TXT", b"<!DOCTYPE html><p>Words", Ok(Html)),
        ("notes.txt", b"{\"a\": \"b\"}", Ok(Json)),
        ("notes.txt", b"[draft] not JSON", Ok(Text)),
        (
            "notes.txt",
            b"BMW makes cars; MZ makes motor cycles.",
            Ok(Text),
        ),
        ("notes.txt", b"BM is a bitmap's signature.", Ok(Text)),
        ("notes.md", b"# Words", Ok(Markdown)),
        (
            "notes.md",
            b"<h1 align=center>Words</h1>\n\nMore.",
            Ok(Markdown),
        ),
        ("page.html", b"<p>Words", Ok(Html)),
        ("page.html", b"No markup at all", Ok(Text)),
        (
            "page.xhtml",
            b"<?xml version='1.0'?><!-- c --><html><body>Words</body></html>",
            Ok(Html),
        ),
        ("data.json", b"{\"a\": 1}", Ok(Json)),
        (
            "data.json",
            b"<html><body>502 Bad Gateway</body></html>",
            Ok(Html),
        ),
        ("data.json", b"{\"a\": 1", Err("MalformedDocument")),
        ("data.jsonl", b"{\"a\": 1}\n{\"a\": 2}\n", Ok(Json)),
        (
            "data.jsonl",
            b"{\"a\": 1}\n{\"a\": oops}\n",
            Err("MalformedDocument"),
        ),
        ("data.csv", b"a,b\n1,2\n", Ok(Csv)),
        ("data.csv", b"[{\"a\": 1}]", Ok(Json)),
        ("a.txt", b"", Err("EmptyDocument")),
        ("a.pdf", b"", Err("EmptyDocument")),
        ("a.txt", b" \n\t \r\n", Err("EmptyDocument")),
        ("a.txt", b"\xef\xbb\xbf", Err("EmptyDocument")),
        (
            "a.html",
            b"<html><script>let words;</script></html>",
            Err("EmptyDocument"),
        ),
        ("a.json", b"{\"a\": null, \"b\": []}", Err("EmptyDocument")),
        ("a.csv", b",,,\n,,,\n", Err("EmptyDocument")),
        ("a.png", PNG, Err("UnsupportedFormat")),
        ("a", PNG, Err("UnsupportedFormat")),
        ("a.txt", PNG, Err("ContentMismatch")),
        ("a.md", ELF, Err("ContentMismatch")),
        // A format with a reader is read whatever the name says; what is broken of it is refused as that.
        ("a.pdf", PDF, Err("MalformedDocument")),
        ("a.md", PDF, Err("MalformedDocument")),
        ("a.docx", DOCX, Err("MalformedDocument")),
        ("a.txt", DOCX, Err("ContentMismatch")),
        ("a.doc", OLE, Err("UnsupportedFormat")),
        ("a.docx", ENCRYPTED, Err("EncryptedDocument")),
        ("a.rtf", b"{\\rtf1 Words}", Err("UnsupportedFormat")),
        ("a.eml", MESSAGE, Ok(Email)),
        ("a.txt", MESSAGE, Ok(Email)),
        ("a.md", MESSAGE, Ok(Markdown)),
        ("a.txt", b"From: nobody\n\nA note.", Ok(Text)),
        // Memos and settings have the fields of messages, and were never sent.
        ("memo.txt", MEMO, Ok(Text)),
        ("memo", ADDRESSED, Ok(Text)),
        ("a.eml", ADDRESSED, Ok(Email)),
        ("alerts.yaml", YAML, Ok(Text)),
        ("alerts", YAML, Ok(Text)),
        ("inbox.mbox", MAILBOX, Ok(Email)),
        ("inbox", MAILBOX, Ok(Email)),
        (
            "letter.txt",
            b"From here on the road is closed.\n\nDrive: around.",
            Ok(Text),
        ),
        ("a.pdf", b"<html>Not found</html>", Err("ContentMismatch")),
        ("a.txt", b"\xff\xfe\0\0a\0\0\0", Err("UndecodableText")),
        ("a.txt", &[0; 64], Err("UndecodableText")),
    ];
    for (name, bytes, expected) in cases {
        check(name, bytes, *expected);
    }
}

#[test]
fn a_refusal_says_what_the_file_is_and_what_to_do() {
    let refusals = [
        ("a.txt", PNG),
        ("a.md", ELF),
        ("a.txt", PDF),
        ("a.pdf", PDF),
        ("a.docx", DOCX),
        ("a.txt", &[]),
    ]
    .map(|(name, bytes)| {
        extract(bytes, name, &Limits::default())
            .unwrap_err()
            .to_string()
    });
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn encodings_are_recognised() {
    let utf16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let russian = "Съешь же ещё этих мягких французских булок, да выпей чаю.";
    let japanese = "吾輩は猫である。名前はまだ無い。どこで生れたか頓と見当がつかぬ。";
    let french = "Le cœur a ses raisons que la raison ne connaît point : été, forêt, garçon.";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("UTF-8", french.as_bytes().to_vec(), french),
        (
            "UTF-8 with a mark",
            [b"\xef\xbb\xbf", french.as_bytes()].concat(),
            french,
        ),
        (
            "UTF-16 LE",
            [b"\xff\xfe".to_vec(), utf16(japanese)].concat(),
            japanese,
        ),
        ("UTF-16 LE, unmarked", utf16(french), french),
        (
            "UTF-16 BE",
            [
                b"\xfe\xff".to_vec(),
                french.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            ]
            .concat(),
            french,
        ),
        (
            "windows-1252",
            encoding_rs::WINDOWS_1252.encode(french).0.into_owned(),
            french,
        ),
        (
            "windows-1251",
            encoding_rs::WINDOWS_1251.encode(russian).0.into_owned(),
            russian,
        ),
        (
            "KOI8-R",
            encoding_rs::KOI8_R.encode(russian).0.into_owned(),
            russian,
        ),
        (
            "Shift_JIS",
            encoding_rs::SHIFT_JIS.encode(japanese).0.into_owned(),
            japanese,
        ),
        (
            "EUC-JP",
            encoding_rs::EUC_JP.encode(japanese).0.into_owned(),
            japanese,
        ),
        (
            "ISO-2022-JP",
            encoding_rs::ISO_2022_JP.encode(japanese).0.into_owned(),
            japanese,
        ),
        ("CRLF", b"one\r\ntwo\rthree\n".to_vec(), "one\ntwo\nthree\n"),
    ];
    for (encoding, bytes, expected) in cases {
        let text = read(&bytes, "a.txt").map(|extracted| extracted.text);
        assert_eq!(text.as_deref(), Ok(expected), "{encoding}");
    }
    let page = encoding_rs::ISO_8859_2
        .encode("<meta charset='iso-8859-2'><p>Żółć")
        .0
        .into_owned();
    assert_eq!(read(&page, "a.html").unwrap().text, "Żółć");
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        max_bytes: 100,
        max_text_bytes: 60,
        max_nesting: 4,
        ..Limits::default()
    };
    let cases = [
        ("a.txt", "x".repeat(101), "DocumentTooLarge"),
        ("a.txt", "x".repeat(61), "DocumentTooLarge"),
        (
            "a.csv",
            format!("a long column name,another one{}", "\n1,2".repeat(5)),
            "DocumentTooLarge",
        ),
        ("a.json", "[[[[[1]]]]]".to_owned(), "TooDeeplyNested"),
        (
            "a.html",
            "<div><div><div><div><div>x".to_owned(),
            "TooDeeplyNested",
        ),
    ];
    for (name, text, expected) in cases {
        let outcome = extract(text.as_bytes(), name, &limits).map_err(|error| error.name());
        assert_eq!(outcome, Err(expected), "{name}: {text}");
    }
    assert_eq!(
        extract(b"[[[[1]]]]", "a.json", &limits).unwrap().text,
        "[0][0]: 1"
    );
}

#[test]
fn nesting_costs_no_stack() {
    const LEVELS: usize = 100_000;
    let run = |name: &'static str, text: String, expected: Result<Format, &'static str>| {
        std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || {
                let outcome = extract(text.as_bytes(), name, &Limits::default());
                assert_eq!(outcome.map(|e| e.format).map_err(|e| e.name()), expected);
            })
            .unwrap()
            .join()
            .unwrap();
    };
    let deep = Err("TooDeeplyNested");
    run("a.json", "[".repeat(LEVELS) + &"]".repeat(LEVELS), deep);
    run(
        "a.json",
        "{\"a\":".repeat(LEVELS) + "1" + &"}".repeat(LEVELS),
        deep,
    );
    run("a.txt", "[".repeat(LEVELS), Ok(Format::Text));
    run("a.html", "<div>".repeat(LEVELS) + "x", deep);
    run("a.html", "<ul><li>".repeat(LEVELS) + "x", deep);
    run("a.html", "<table><tr><td>".repeat(LEVELS) + "x", deep);
    run("a.html", "<b>".repeat(LEVELS) + "x", Ok(Format::Html));
    run("a.md", ">".repeat(LEVELS) + " # x", Ok(Format::Markdown));
    run("a.md", "[".repeat(LEVELS) + "x", Ok(Format::Markdown));
    run("a.md", "*a **a ".repeat(LEVELS), Ok(Format::Markdown));
}

/// A format's extraction with the headings' offsets resolved, so that a wrong offset shows.
fn shown(name: &str, text: &str) -> String {
    let extracted = read(text.as_bytes(), name).expect("the example is readable");
    let headings = extracted.headings.iter().map(|heading| {
        let line = extracted.text[heading.start..]
            .lines()
            .next()
            .unwrap_or_default();
        format!("{} {:?} at {line:?}\n", heading.level, heading.title)
    });
    format!(
        "format: {:?}\ntitle: {:?}\nheadings:\n{}---\n{}",
        extracted.format,
        extracted.title,
        headings.collect::<String>(),
        extracted.text
    )
}

#[test]
fn plain_text() {
    let text = "Frobnicator\n===========\n\nKept  as \twritten.\n\nUse\n---\nTurn it on.\n\n----\n\nA table:\n-------- ------\na        b\n";
    insta::assert_snapshot!(shown("README", text));
}

#[test]
fn markdown() {
    let text = "---\ntitle: \"The manual\"\ntags: [a]\n---\n\n# One `code` *word*\n\nText.\n\nTwo\nlines\n---\n\n```sh\n# a comment\n```\n\n> ## Quoted\n\n<h2 align=\"center\">By <b>hand</b></h2>\n\n    # indented code\n\n###\n\n#hashtag\n";
    insta::assert_snapshot!(shown("manual.md", text));
}

#[test]
fn html() {
    insta::assert_snapshot!(shown("page.html", include_str!("page.html")));
}

#[test]
fn malformed_html() {
    let text = "<h1>Open <div>Body &amp; soul &copy; &bogus; &#x41; <p>one<p>two</b></div></i><ul><li>a<li hidden>b<li>c</ul><table><td>x<td>y<tr><td>z</table>end < of <";
    insta::assert_snapshot!(shown("page.html", text));
}

#[test]
fn json() {
    let text = r#"{"title": "Orders", "count": 12345678901234567890, "ratio": 1.10, "none": null,
        "tags": ["a", "b\n", 3], "address": {"city": "Zürich", "lines": [{"no": 1}, {"no": 2}]}, "note": "\u00e9t\u00e9\ud83d\ude00"}"#;
    insta::assert_snapshot!(shown("orders.json", text));
}

#[test]
fn json_records() {
    insta::assert_snapshot!(shown(
        "people.json",
        r#"[{"name": "Ada", "born": {"year": 1815}}, {"name": "Alan", "langs": []}, "loose", [1, [2]]]"#
    ));
}

#[test]
fn json_lines() {
    insta::assert_snapshot!(shown(
        "people.jsonl",
        "{\"name\": \"Ada\"}\n\n{\"name\": \"Alan\", \"born\": 1912}\n"
    ));
}

#[test]
fn csv() {
    let text = "name;city;;note\nAda;\"London; Soho\";x;\"two\nlines\"\n\nAlan;;\nGrace;New York;;\"said \"\"hi\"\"\";extra\nbad;\"quo\"te;;un\"closed\n";
    insta::assert_snapshot!(shown("people.csv", text));
}

#[test]
fn tsv_without_a_header() {
    insta::assert_snapshot!(shown("points.tsv", "1\t2, 3\tnorth\n4\t5\tsouth\n"));
}

#[test]
fn mail() {
    let read = extract(MESSAGE, "note.eml", &Limits::default()).unwrap();
    insta::assert_snapshot!(format!("title: {:?}\n---\n{}", read.title, read.text));
    let html = b"From: a@x.org\nTo: b@x.org\nDate: Mon, 10 Jul 1843 10:00:00 +0000\nContent-Type: text/html\n\n<h1>Only</h1><p>marked up";
    let read = extract(html, "note.eml", &Limits::default()).unwrap();
    assert!(read.text.ends_with("Only\n\nmarked up"), "{}", read.text);
}

/// Each message of a mailbox stands under its subject.
#[test]
fn mailbox() {
    let read = extract(MAILBOX, "inbox.mbox", &Limits::default()).unwrap();
    let headings = read.headings.iter().map(|heading| {
        let line = read.text[heading.start..].lines().next();
        format!("{} at {:?}\n", heading.title, line.unwrap_or_default())
    });
    let headings: String = headings.collect();
    insta::assert_snapshot!(format!("{headings}---\n{}", read.text));
}

/// A heading is copied into every passage below it.
#[test]
fn outlines_are_bounded() {
    let many = "# a\n".repeat(60_000);
    let long = format!("# {}\n\ntext", "word ".repeat(1_000));
    let page = format!("<title>{0}</title><h1>{0}</h1>text", "word ".repeat(1_000));
    let check = |name: &str, text: &str, most: usize| {
        let read = read(text.as_bytes(), name).unwrap();
        assert_eq!(read.headings.len(), most, "{name}");
        let titles = read.headings.iter().map(|heading| &heading.title);
        assert!(
            titles
                .chain(&read.title)
                .all(|title| title.chars().count() <= 301),
            "{name}"
        );
    };
    check("a.md", &many, 50_000);
    check("a.md", &long, 1);
    check("a.html", &page, 1);
}

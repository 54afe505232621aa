//! Office files, books: what is read of them, and what is refused.

use extract::{Extracted, Format, Limits, extract};

mod made;

fn read(bytes: &[u8], name: &str) -> Extracted {
    extract(bytes, name, &Limits::default()).expect("the example is readable")
}

/// The extraction with the offsets resolved, so that a wrong one shows.
fn shown(read: &Extracted) -> String {
    let line = |at: usize| read.text[at..].lines().next().unwrap_or_default();
    let headings = read.headings.iter().map(|heading| {
        format!(
            "{} {:?} at {:?}\n",
            heading.level,
            heading.title,
            line(heading.start)
        )
    });
    let pages = read
        .pages
        .iter()
        .map(|at| format!("page at {:?}\n", line(*at)));
    format!(
        "format: {:?}\ntitle: {:?}\n{}{}---\n{}",
        read.format,
        read.title,
        headings.collect::<String>(),
        pages.collect::<String>(),
        read.text
    )
}

fn paragraph(style: &str, words: &str) -> String {
    format!("<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr><w:r><w:t>{words}</w:t></w:r></w:p>")
}

#[test]
fn docx() {
    let listed = |depth: u8, words: &str| {
        format!(
            "<w:p><w:pPr><w:numPr><w:ilvl w:val='{depth}'/></w:numPr></w:pPr><w:r><w:t>{words}</w:t></w:r></w:p>"
        )
    };
    let cell = |words: &str| format!("<w:tc><w:p><w:r><w:t>{words}</w:t></w:r></w:p></w:tc>");
    let body = [
        paragraph("Title", "The &amp; manual"),
        paragraph("Heading1", "Beginning"),
        "<w:p><w:r><w:t>Two </w:t></w:r><w:del><w:r><w:delText>old</w:delText><w:t>old</w:t></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:r><w:tab/><w:t>words</w:t><w:br/><w:t>below</w:t></w:r></w:p>".into(),
        listed(0, "first"),
        listed(1, "deeper"),
        format!("<w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>", cell("a"), cell("b"), cell("1"), cell("2")),
        paragraph("Mine", "Below &#8212; it"),
        "<w:p><w:r><w:instrText>PAGE</w:instrText></w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>A box.</w:t></w:r></w:p></w:txbxContent></mc:Choice><mc:Fallback><w:t>A copy.</w:t></mc:Fallback></mc:AlternateContent><w:r><w:t>Around it.</w:t></w:r></w:p>".into(),
    ];
    let notes = "<w:footnotes><w:footnote w:type='separator'><w:p><w:r><w:t>line</w:t></w:r></w:p></w:footnote><w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let bytes = made::docx_with(&body.concat(), &[("word/footnotes.xml", notes.to_owned())]);
    let read = read(&bytes, "manual.bin");
    assert_eq!(read.format, Format::Docx);
    insta::assert_snapshot!(shown(&read));
}

#[test]
fn pptx() {
    let title = "<p:sp><p:nvPr><p:ph type='title'/></p:nvPr><a:p><a:r><a:t>Last, shown first</a:t></a:r></a:p></p:sp>";
    let body = "<p:sp><p:nvPr><p:ph idx='1'/></p:nvPr><a:p><a:r><a:t>One </a:t></a:r><a:r><a:t>point</a:t></a:r></a:p><a:p><a:r><a:t>Two</a:t></a:r></a:p></p:sp>";
    let table = "<p:graphicFrame><a:tbl><a:tr><a:tc><a:p><a:r><a:t>a</a:t></a:r></a:p></a:tc><a:tc><a:p><a:r><a:t>b</a:t></a:r></a:p></a:tc></a:tr></a:tbl></p:graphicFrame>";
    let number =
        "<p:sp><p:nvPr><p:ph type='sldNum'/></p:nvPr><a:p><a:fld><a:t>3</a:t></a:fld></a:p></p:sp>";
    let last = format!("{title}{table}{number}");
    insta::assert_snapshot!(shown(&read(&made::pptx(&[body, &last]), "talk.pptx")));
}

#[test]
fn xlsx() {
    let rows = "<row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='s'><v>1</v></c><c r='C1' t='inlineStr'><is><t>paid</t></is></c></row>\
        <row r='3'><c r='A3' t='s'><v>2</v></c><c r='B3' s='1'><v>45292</v></c><c r='C3' t='b'><v>1</v></c></row>\
        <row r='4'><c r='A4' t='e'><v>#REF!</v></c><c r='B4'><f>1/3</f><v>0.25</v></c></row>";
    insta::assert_snapshot!(shown(&read(&made::xlsx(rows), "orders.xlsx")));
}

#[test]
fn epub() {
    let chapters = [
        "<h1>One</h1><p>It begins.</p>",
        "<h1>Two</h1><h2>Deeper</h2><p>It ends.",
    ];
    insta::assert_snapshot!(shown(&read(&made::epub(&chapters), "book.epub")));
}

/// Names and what they are refused for.
#[test]
fn what_asks_too_much_is_refused_by_name() {
    let limits = Limits {
        max_unpacked_bytes: 1_000_000,
        max_text_bytes: 200_000,
        max_nesting: 64,
        max_pages: 3,
        ..Limits::default()
    };
    let check = |bytes: Vec<u8>, expected: &str| {
        assert!(bytes.len() < 100_000, "the file itself is small");
        let outcome = extract(&bytes, "a", &limits).map(|read| read.text.len());
        assert_eq!(outcome.map_err(|error| error.name()), Err(expected));
    };
    let blanks = " ".repeat(2_000_000);
    let words = format!(
        "<w:p><w:r><w:t>{}</w:t></w:r></w:p>",
        "word ".repeat(80_000)
    );
    let deep = "<w:sdt>".repeat(100) + &"</w:sdt>".repeat(100);
    check(made::docx(&blanks), "DocumentTooLarge");
    check(made::docx(&words), "DocumentTooLarge");
    check(made::docx(&deep), "TooDeeplyNested");
    check(
        made::docx("<w:p><w:r><w:t>never <!-- closed"),
        "MalformedDocument",
    );
    check(made::xlsx(&blanks), "DocumentTooLarge");
    check(made::epub(&[&blanks]), "DocumentTooLarge");
    check(made::pptx(&["", "", "", ""]), "TooManyPages");
    check(made::docx("<w:p/>"), "EmptyDocument");
    let encrypted = made::archive(&[
        ("mimetype", "application/epub+zip".into()),
        ("META-INF/rights.xml", "<rights/>".into()),
    ]);
    check(encrypted, "EncryptedDocument");
    let odt = made::archive(&[("mimetype", "application/vnd.oasis.opendocument.text".into())]);
    check(odt, "UnsupportedFormat");
    check(made::archive(&[("a.txt", "x".into())]), "UnsupportedFormat");
}

/// The header of a part claims one byte; what is unpacked counts.
#[test]
fn a_lying_header_is_not_believed() {
    let mut bytes = made::docx(&" ".repeat(2_000_000));
    let lies = 1_u32.to_le_bytes();
    let honest = bytes.windows(4).enumerate().filter(|(_, four)| {
        let size = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        (2_000_000..2_001_000).contains(&size)
    });
    let at: Vec<usize> = honest.map(|(at, _)| at).collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + 4].copy_from_slice(&lies);
    }
    let limits = Limits {
        max_unpacked_bytes: 1_000_000,
        ..Limits::default()
    };
    let name = extract(&bytes, "a.docx", &limits).unwrap_err().name();
    assert!(
        matches!(name, "DocumentTooLarge" | "MalformedDocument"),
        "{name}"
    );
}

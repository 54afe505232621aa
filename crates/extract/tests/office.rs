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
    // What a placeholder is for ends with it.
    for order in [
        [number, table, body],
        [table, number, body],
        [number, body, table],
    ] {
        let read = read(&made::pptx(&[&order.concat()]), "talk.pptx");
        assert!(
            read.text.contains("a | b") && read.text.contains("One point"),
            "{}",
            read.text
        );
    }
}

#[test]
fn xlsx() {
    let rows = "<row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='s'><v>1</v></c><c r='C1' t='inlineStr'><is><t>paid</t></is></c></row>\
        <row r='3'><c r='A3' t='s'><v>2</v></c><c r='B3' s='1'><v>45292</v></c><c r='C3' t='b'><v>1</v></c></row>\
        <row r='4'><c r='A4' t='e'><v>#REF!</v></c><c r='B4'><f>1/3</f><v>0.25</v></c></row>";
    insta::assert_snapshot!(shown(&read(&made::xlsx(rows), "orders.xlsx")));
}

/// Cells at the last row and column, of a sheet that claims to be full, cost what they hold.
#[test]
fn wide_sheets_are_read_by_what_they_hold() {
    let far: String = (1..=2_000)
        .map(|row| {
            format!(
                "<row r='{row}'><c r='A{row}'><v>{row}</v></c><c r='XFD{row}'><v>7</v></c></row>"
            )
        })
        .collect();
    let last = "<row r='1048576'><c r='XFD1048576' t='inlineStr'><is><t>far</t></is></c><c r='B1048576'><v>1</v></c></row>";
    let read = read(&made::xlsx(&format!("{far}{last}")), "a.xlsx");
    assert!(
        read.text
            .starts_with("Orders\n\ncolumn 1: 1\ncolumn 16384: 7"),
        "{}",
        &read.text[..60]
    );
    assert!(read.text.ends_with("column 2: 1\ncolumn 16384: far"));
}

#[test]
fn epub() {
    let chapters = [
        "<h1>One</h1><p>It begins.</p>",
        "<h1>Two</h1><h2>Deeper</h2><p>It ends.",
    ];
    insta::assert_snapshot!(shown(&read(&made::epub(&chapters), "book.epub")));
}

/// References of the manifest to chapters, however they are written.
#[test]
fn chapters_are_found() {
    let check = |item: &str, part: &str| {
        let book = made::book(
            &format!(
                "<item id='c' {item}/><item id=' x ' href='x.svg' media-type='image/svg+xml' fallback='c'/>"
            ),
            "<itemref idref='c' linear='no'/>",
            &[(
                part,
                "<html xmlns='x'><head><title/><script src='a.js'/></head><body><p>It begins.</p></body></html>",
            )],
        );
        assert_eq!(read(&book, "a.epub").text, "It begins.", "{item}");
    };
    let xhtml = "media-type='application/xhtml+xml'";
    check(&format!("href='c.xhtml' {xhtml}"), "OEBPS/c.xhtml");
    check(
        &format!("href='the%20first.xhtml' {xhtml}"),
        "OEBPS/the first.xhtml",
    );
    check(&format!("href='c.xhtml#start' {xhtml}"), "OEBPS/c.xhtml");
    check(&format!("href='../Text/./c.xhtml' {xhtml}"), "Text/c.xhtml");
    check(&format!("href='/Text/c.xhtml' {xhtml}"), "Text/c.xhtml");
    check(
        "href='c.html' media-type='text/x-oeb1-document'",
        "OEBPS/c.html",
    );
    check("href='c.xml' media-type='application/xml'", "OEBPS/c.xml");
    check("href='c.htm'", "OEBPS/c.htm");
    // Another form of what is no text; each chapter once, whatever points to it.
    let spine =
        "<itemref idref='x'/><itemref idref='c'/><itemref idref='d'/><itemref idref='gone'/>";
    let items = format!(
        "<item id='x' href='x.svg' media-type='image/svg+xml' fallback='c'/><item id='c' href='c.xhtml#a' {xhtml}/><item id='d' href='c.xhtml#b' {xhtml}/><item id='gone' href='gone.xhtml' {xhtml}/>"
    );
    let book = made::book(
        &items,
        spine,
        &[("OEBPS/c.xhtml", "\u{feff}<html><body>Once</body></html>")],
    );
    assert_eq!(read(&book, "a.epub").text, "Once");
    // None of them is there.
    let book = made::book(&items, "<itemref idref='gone'/>", &[]);
    let refused = extract(&book, "a.epub", &Limits::default()).unwrap_err();
    assert_eq!(refused.name(), "MalformedDocument");
    // A shop's lock is on the chapters; one on the fonts is none.
    let locked = |name: &str| {
        let lock = format!(
            "<encryption><EncryptedData><CipherData><CipherReference URI='{name}'/></CipherData></EncryptedData></encryption>"
        );
        let parts = [
            ("META-INF/encryption.xml", lock.as_str()),
            ("OEBPS/c.xhtml", "<p>Words</p>"),
        ];
        let book = made::book(&items, "<itemref idref='c'/>", &parts);
        extract(&book, "a.epub", &Limits::default())
            .map(|read| read.text)
            .map_err(|error| error.name())
    };
    assert_eq!(locked("OEBPS/c.xhtml"), Err("EncryptedDocument"));
    assert_eq!(locked("OEBPS/font.otf").as_deref(), Ok("Words"));
}

/// The main part may have another name.
#[test]
fn the_package_names_its_main_part() {
    let target = "<Relationships><Relationship Id='r' Type='http://x/relationships/officeDocument' Target='/word/document2.xml'/></Relationships>";
    let body = "<w:document xmlns:w='w'><w:body><w:p><w:r><w:t>Words</w:t></w:r></w:p></w:body></w:document>";
    let bytes = made::archive(&[
        ("_rels/.rels", target.into()),
        ("word/document2.xml", body.into()),
    ]);
    assert_eq!(read(&bytes, "a.docx").text.trim(), "Words");
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

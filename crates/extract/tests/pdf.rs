//! PDF: lines, paragraphs, pages and headings, and what is refused.

use std::io::Write;

use extract::{Extracted, Limits, extract};

mod made;

fn read(bytes: &[u8]) -> Result<Extracted, &'static str> {
    extract(bytes, "a.pdf", &Limits::default()).map_err(|error| error.name())
}

/// What one page's content stream reads as.
#[test]
fn distances_make_the_white_space() {
    let check = |content: &str, expected: &str| {
        let read = read(&made::pdf(&[content]));
        assert_eq!(
            read.map(|read| read.text).as_deref(),
            Ok(expected),
            "{content}"
        );
    };
    check("BT /F 10 Tf 72 700 Td (One line) Tj ET", "One line");
    check(
        "BT /F 10 Tf 72 700 Td [(Wo) 20 (rd) -280 (two)] TJ ET",
        "Word two",
    );
    check(
        "BT /F 10 Tf 12 TL 72 700 Td (first) Tj T* (second) Tj ET",
        "first\nsecond",
    );
    check(
        "BT /F 10 Tf 12 TL 72 700 Td (hyphen-) Tj T* (ated and co-) Tj T* (Founder) Tj ET",
        "hyphenated and co-\nFounder",
    );
    check(
        "BT /F 10 Tf 12 TL 72 700 Td (a) Tj T* (b) Tj 0 -30 Td (c) Tj ET",
        "a\nb\n\nc",
    );
    // The second column begins above the first one's end.
    check(
        "BT /F 10 Tf 12 TL 72 700 Td (a) Tj T* (b) Tj 200 12 Td (c) Tj T* (d) Tj ET",
        "a\nb\n\nc\nd",
    );
    check("BT /F 10 Tf 72 700 Td (x) Tj /F 6 Tf 4 Ts (2) Tj ET", "x2");
    // Bold by drawing twice.
    check(
        "BT /F 10 Tf 72 700 Td (B) Tj 1 0 0 1 72.3 700 Tm (B) Tj ET",
        "B",
    );
    // Whole words, and what goes on behind them; a shadow.
    check(
        "BT /F 10 Tf 72 700 Td (Bold word ) Tj 1 0 0 1 72.3 700 Tm (Bold word ) Tj (and more) Tj ET",
        "Bold word and more",
    );
    check(
        "BT /F 10 Tf 12 TL 72 700 Td (one) Tj T* (two) Tj 1 0 0 1 72.5 699.5 Tm (one) Tj T* (two) Tj T* (end) Tj ET",
        "one\ntwo\nend",
    );
    // What is spelt twice stays, however narrow it is drawn.
    check(
        "BT /F 10 Tf 30 Tz 72 700 Td (all illness, 11 books) Tj ET",
        "all illness, 11 books",
    );
    check("BT /F 10 Tf 72 700 Td -2 Tc (ill) Tj ET", "ill");
    // The page's own axes turned by a quarter.
    check(
        "q 0 1 -1 0 300 100 cm BT /F 10 Tf (up) Tj 0 -12 Td (wards) Tj ET Q",
        "up\nwards",
    );
    check(
        "/Span << /ActualText (whole) >> BDC BT /F 10 Tf 72 700 Td (w) Tj (h) Tj ET EMC BT /F 10 Tf 110 700 Td (rest) Tj ET",
        "whole rest",
    );
    // A font that was never named is Helvetica.
    check("BT /Missing 10 Tf 72 700 Td (Named) Tj ET", "Named");
    check(
        "BT /F 10 Tf 72 700 Td (caf\\351 \\223x\\224) Tj ET",
        "café “x”",
    );
}

#[test]
fn pages_and_outline() {
    let outline = "/Outlines 1001 0 R /Names << /Dests << /Names [(two) [12 0 R /Fit]] >> >>";
    let objects = "1001 0 obj\n<< /First 1002 0 R >>\nendobj\n\
        1002 0 obj\n<< /Title (Opening words) /Dest [10 0 R /XYZ 0 0 0] /First 1003 0 R /Next 1004 0 R >>\nendobj\n\
        1003 0 obj\n<< /Title (Not on its page) /Dest [10 0 R /Fit] >>\nendobj\n\
        1004 0 obj\n<< /Title (\\376\\377\\000E\\000n\\000d) /A << /S /GoTo /D (two) >> /First 1005 0 R >>\nendobj\n\
        1005 0 obj\n<< /Title (Detail) /Dest (two) >>\nendobj\n";
    let first = "BT /F 20 Tf 72 700 Td (1. Opening words) Tj /F 10 Tf 0 -40 Td (Text.) Tj ET";
    let third = "BT /F 20 Tf 72 700 Td (END) Tj /F 10 Tf 0 -40 Td (2.1 Detail) Tj 0 -40 Td (Details follow.) Tj ET";
    let bytes = made::pdf_with(&[first, third, ""], outline, objects);
    let read = read(&bytes).unwrap();
    assert_eq!(
        read.text,
        "1. Opening words\n\nText.\n\nEND\n\n2.1 Detail\n\nDetails follow."
    );
    let headings: Vec<(u8, &str, &str)> = read
        .headings
        .iter()
        .map(|heading| {
            (
                heading.level,
                heading.title.as_str(),
                &read.text[heading.start..][..3],
            )
        })
        .collect();
    assert_eq!(
        headings,
        [
            (1, "Opening words", "1. "),
            (1, "End", "END"),
            (2, "Detail", "2.1")
        ]
    );
    let end = read.text.len();
    assert_eq!(read.pages, [0, read.text.find("END").unwrap(), end]);
}

/// A page may say elsewhere how it is turned.
#[test]
fn a_turned_page_reads_as_it_is_seen() {
    let upright = "BT /F 10 Tf 12 TL 72 700 Td (One line) Tj T* (and another) Tj ET";
    for turned in ["0", "90", "180", "270", "1000 0 R"] {
        let page = made::pdf_with(&[upright], "", "1000 0 obj\n90\nendobj\n");
        let page = String::from_utf8(page).unwrap();
        let rotated = page.replace("/MediaBox", &format!("/Rotate {turned} /MediaBox"));
        let read = read(rotated.as_bytes()).map(|read| read.text);
        assert_eq!(read.as_deref(), Ok("One line\nand another"), "{turned}");
    }
}

#[test]
fn a_code_may_mean_doubled_letters() {
    let map = "begincmap 1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfchar <41> <006600660069> endbfchar endcmap";
    let font = format!(
        "3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 1000 0 R >>\nendobj\n1000 0 obj\n<< /Length {} >>\nstream\n{map}\nendstream\nendobj\n",
        map.len()
    );
    let check = |shown: &str, text: &str| {
        let content = format!("BT /F 9 Tf 1 0 0 1 50 700 Tm {shown} ET");
        let read = read(&made::pdf_with(&[&content], "", &font)).unwrap();
        assert_eq!(read.text, text, "{shown}");
    };
    check("(oAce) Tj", "office");
    // Drawn again in its place it is there once.
    check("(oAce) Tj 1 0 0 1 50.1 700 Tm (oAce) Tj", "office");
}

#[test]
fn forms_are_drawn_in_place() {
    let form = "1000 0 obj\n<< /Type /XObject /Subtype /Form /Matrix [1 0 0 1 72 650] /Length 32 >>\nstream\nBT /F 10 Tf (in the form) Tj ET /X Do\nendstream\nendobj\n";
    let page = "BT /F 10 Tf 72 700 Td (before) Tj ET /X Do BT /F 10 Tf 72 600 Td (after) Tj ET";
    let read = read(&made::pdf_with(&[page], "", form)).unwrap();
    assert!(
        read.text.starts_with("before\n\nin the form"),
        "{}",
        read.text
    );
    assert!(read.text.ends_with("after"), "{}", read.text);
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).expect("memory holds it");
    encoder.finish().expect("memory holds it")
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let check = |bytes: Vec<u8>, expected: &str| {
        let limits = Limits {
            max_pages: 3,
            ..Limits::default()
        };
        let refused = extract(&bytes, "a.pdf", &limits).map(|read| read.text);
        assert_eq!(refused.map_err(|error| error.name()), Err(expected));
    };
    let image = "q 612 0 0 792 0 0 cm /X Do Q";
    check(made::pdf(&[image, image]), "NoTextLayer");
    check(b"%PDF-1.7\nnothing more".to_vec(), "MalformedDocument");
    // Two bytes a character and no map to Unicode: noise to everybody.
    let font = "1000 0 obj\n<< >>\nendobj\n3 0 obj\n<< /Type /Font /Subtype /Type0 /BaseFont /Xyz /Encoding /Identity-H /DescendantFonts [1001 0 R] >>\nendobj\n\
        1001 0 obj\n<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Xyz /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>\nendobj\n";
    check(
        made::pdf_with(
            &["BT /F 10 Tf 72 700 Td <00050006000700080009> Tj ET"],
            "",
            font,
        ),
        "UnknownCharacters",
    );
    let many = vec!["BT ET"; 4];
    check(made::pdf(&many), "TooManyPages");
}

/// A file of these objects; readers find them without a table.
fn file(objects: &[(u32, String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n".to_vec();
    for (number, dict, data) in objects {
        bytes.extend(format!("{number} 0 obj\n<< {dict} ").bytes());
        if data.is_empty() {
            bytes.extend(b">>\nendobj\n");
            continue;
        }
        bytes.extend(format!("/Length {} >>\nstream\n", data.len()).bytes());
        bytes.extend(data);
        bytes.extend(b"\nendstream\nendobj\n");
    }
    bytes.extend(b"trailer\n<< /Root 1 0 R /Size 2000 >>\n");
    bytes
}

fn page(more: &str) -> (u32, String, Vec<u8>) {
    let dict = format!("/Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {more}");
    (3, dict, Vec::new())
}

/// Files of some KB that unpack to more than is allowed, wherever that is packed and however often.
#[test]
fn bombs_are_refused_by_name() {
    let check = |name: &str, objects: &[(u32, String, Vec<u8>)], expected: &str| {
        let limits = Limits {
            max_stream_bytes: 1_000_000,
            max_unpacked_bytes: 2_000_000,
            max_operators: 1_000_000,
            ..Limits::default()
        };
        let bytes = file(objects);
        assert!(bytes.len() < 100_000, "{name}: the file itself is small");
        let refused = extract(&bytes, "a.pdf", &limits).map(|read| read.text);
        assert_eq!(
            refused.map_err(|error| error.name()),
            Err(expected),
            "{name}"
        );
    };
    let content = page("/Contents 4 0 R");
    let flate = "/Filter /FlateDecode".to_owned();
    let bomb = packed(&b"BT ET q Q ".repeat(110_000));
    let large = "DocumentTooLarge";
    check(
        "content",
        &[content.clone(), (4, flate.clone(), bomb.clone())],
        large,
    );
    let twice = "/Filter [/FlateDecode /FlateDecode]".to_owned();
    check(
        "twice",
        &[content.clone(), (4, twice.clone(), packed(&bomb))],
        large,
    );
    let thrice = "/Filter [/FlateDecode /Fl /FlateDecode]".to_owned();
    check(
        "thrice",
        &[content.clone(), (4, thrice, packed(&packed(&bomb)))],
        large,
    );
    let hex: Vec<u8> = bomb
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect();
    let text = "/Filter [/ASCIIHexDecode /FlateDecode]".to_owned();
    check("behind text", &[content.clone(), (4, text, hex)], large);
    let runs = [129, b' '].repeat(10_000);
    let run_lengths = "/Filter [/RunLengthDecode /FlateDecode]".to_owned();
    check("runs", &[content.clone(), (4, run_lengths, runs)], large);
    // A page of one stream, a hundred times; a form, drawn as often.
    let ten = packed(&b"q Q ".repeat(100_000));
    let often = page(&format!("/Contents [{}]", "4 0 R ".repeat(100)));
    check("often", &[often, (4, flate.clone(), ten.clone())], large);
    let drawn = page("/Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >>");
    let blanks = packed(&vec![b' '; 900_000]);
    let form = "/Subtype /Form /Filter /FlateDecode".to_owned();
    check(
        "form",
        &[
            drawn,
            (4, String::new(), b"/X Do ".repeat(1_000)),
            (5, form, blanks),
        ],
        "DocumentTooComplex",
    );
    // What the library unpacks by itself: fonts, their maps, and streams of objects, of which a length may lie.
    let shown = page("/Contents 4 0 R /Resources << /Font << /F 5 0 R >> >>");
    let show = (4, String::new(), b"BT /F 9 Tf (x) Tj ET".to_vec());
    for (key, dict) in [
        (
            "font",
            "/Type /Font /Subtype /TrueType /BaseFont /A /FontDescriptor << /FontFile2 6 0 R >>",
        ),
        (
            "map",
            "/Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R",
        ),
    ] {
        let font = (5, dict.to_owned(), Vec::new());
        for (filter, data) in [(&flate, &bomb), (&twice, &packed(&bomb))] {
            let stream = (6, filter.clone(), data.clone());
            check(
                key,
                &[shown.clone(), show.clone(), font.clone(), stream],
                large,
            );
        }
    }
    let more = packed(&vec![b' '; 2_100_000]);
    for dict in ["/Type /ObjStm", "/Subtype /Image", "/#54ype /X"] {
        let dict = format!("{dict} /N 1 /First 9 {flate}");
        // Its first block holds the word that ends a stream.
        let stored = b"\x78\x01\x00\x0a\x00\xf5\xffendstream ";
        let lying = [stored.as_slice(), &more[2..]].concat();
        check(
            "objects that lie",
            &[content.clone(), (6, dict.clone(), lying)],
            large,
        );
        check(
            "objects",
            &[content.clone(), (6, dict.clone(), more.clone())],
            large,
        );
        let nested = dict.replace("/FlateDecode", "[/FlateDecode /FlateDecode]");
        check(
            "objects twice",
            &[content.clone(), (6, nested, packed(&more))],
            large,
        );
        let away = dict.replace("/FlateDecode", "7 0 R");
        check(
            "a filter elsewhere",
            &[content.clone(), (6, away, more.clone())],
            large,
        );
    }
}

/// Trees and lists that point to themselves, or to the same place from everywhere, are read within bounds.
#[test]
fn what_points_everywhere_is_read_once() {
    let kids = "1001 0 R ".repeat(30_000);
    let catalog = "/Outlines 1002 0 R /Names << /Dests 1001 0 R >>";
    let mut objects = format!("1001 0 obj\n<< /Kids [{kids}] /Names [(a) [10 0 R]] >>\nendobj\n");
    objects.push_str("1002 0 obj\n<< /First 1003 0 R >>\nendobj\n");
    objects.push_str(
        "1003 0 obj\n<< /Title (Words) /Dest (a) /First 1003 0 R /Next 1003 0 R >>\nendobj\n",
    );
    let text = "BT /F 10 Tf 72 700 Td (Words) Tj ET";
    let read = read(&made::pdf_with(&[text], catalog, &objects)).unwrap();
    assert_eq!(read.headings.len(), 1);
    // A title as long as a book is none.
    let long = format!(
        "1002 0 obj\n<< /First 1003 0 R >>\nendobj\n1003 0 obj\n<< /Title ({}) /Dest [10 0 R] >>\nendobj\n",
        "Words ".repeat(500)
    );
    let pages = ["BT /F 10 Tf 72 700 Td (Words Words) Tj ET"];
    let read = extract(
        &made::pdf_with(&pages, "/Outlines 1002 0 R", &long),
        "a.pdf",
        &Limits::default(),
    );
    assert!(read.unwrap().headings.is_empty());
}

/// Objects that do not end, each of which a search for lost objects reads to the file's end.
#[test]
fn objects_without_end_are_refused() {
    for open in ["(", "<", "[ ("] {
        let mut bytes = b"%PDF-1.7\n".to_vec();
        for number in 0..20_000 {
            bytes.extend(format!("{number} 0 obj {open} ").bytes());
        }
        assert_eq!(read(&bytes).map(|read| read.text), Err("MalformedDocument"));
    }
}

/// Forms that draw each other 2^16 times.
#[test]
fn forms_in_forms_are_refused_by_name() {
    let forms: String = (0..16)
        .map(|n| {
            let number = 1_000 + n;
            let next = number + 1;
            let content = "/X Do /X Do /X Do /X Do";
            format!("{number} 0 obj\n<< /Subtype /Form /Resources << /XObject << /X {next} 0 R >> >> /Length {} >>\nstream\n{content}\nendstream\nendobj\n", content.len())
        })
        .collect();
    let limits = Limits {
        max_operators: 100_000,
        ..Limits::default()
    };
    let bytes = made::pdf_with(&["/X Do"], "", &forms);
    let refused = extract(&bytes, "a.pdf", &limits).map(|read| read.text);
    assert_eq!(
        refused.map_err(|error| error.name()),
        Err("DocumentTooComplex")
    );
}

/// A password that only its owner knows.
#[test]
fn a_password_is_named() {
    let encrypted = include_bytes!("encrypted.pdf");
    assert_eq!(
        read(encrypted).map(|read| read.text),
        Err("EncryptedDocument")
    );
}

/// The fonts and maps in the binary are redistributed: their notices name the versions that they were read from.
#[test]
fn the_notices_are_those_of_what_is_embedded() {
    let notice = include_str!("../../../NOTICE");
    let lock = include_str!("../../../Cargo.lock");
    for library in ["hayro-font", "hayro-cmap"] {
        let at = lock
            .find(&format!("name = \"{library}\"\nversion = \""))
            .unwrap();
        let version = lock[at..].split('"').nth(3).unwrap();
        assert!(
            notice.contains(&format!("{library} {version}")),
            "compare NOTICE with the licences in {library} {version}"
        );
    }
    for holder in [
        "2014 PDFium Authors",
        "1990-2023 Adobe",
        "Foxit Software Inc.",
    ] {
        assert!(notice.contains(holder), "{holder}");
    }
}

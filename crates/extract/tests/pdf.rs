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

/// 64 MB of operators in a file of 64 KB, and forms that draw each other 2^16 times.
#[test]
fn bombs_are_refused_by_name() {
    let stream = packed(&b"BT ET q Q ".repeat(7_000_000));
    assert!(stream.len() < 300_000);
    let mut bytes = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>\nendobj\n".to_vec();
    bytes.extend(
        format!(
            "4 0 obj\n<< /Length {} /Filter /FlateDecode >>\nstream\n",
            stream.len()
        )
        .bytes(),
    );
    bytes.extend(&stream);
    bytes.extend(b"\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n");
    assert_eq!(read(&bytes).map(|read| read.text), Err("DocumentTooLarge"));

    let twice = String::from_utf8(
        bytes
            .iter()
            .map(|b| if b.is_ascii() { *b } else { b'?' })
            .collect(),
    )
    .unwrap();
    let twice = twice.replace(
        "/Filter /FlateDecode",
        "/Filter [/FlateDecode /FlateDecode]",
    );
    let mut doubled = twice.split("stream\n").next().unwrap().as_bytes().to_vec();
    doubled.extend(b"stream\n");
    doubled.extend(packed(&stream));
    doubled.extend(b"\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n");
    assert_eq!(
        read(&doubled).map(|read| read.text),
        Err("DocumentTooLarge")
    );

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

//! Documents of every format, changed at random many times over: `cargo test -p extract --test mutations -- --ignored`.
//!
//! Archives are changed inside their parts and packed again, so that the damage reaches what reads the parts. A case is
//! its number: one that breaks is run alone by `case`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use extract::{Limits, extract};

mod made;

/// Cases of one run; some minutes of a debug build.
const CASES: u64 = 30_000;

/// Numbers by chance, the same for the same case.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What breaks readers: ends, openings, references to oneself, numbers at their bounds.
const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "&#x10ffff;",
    "&#0;",
    "&lt;",
    "\"",
    "'",
    "=",
    "<w:p>",
    "</w:p>",
    "<w:tbl>",
    "</w:tc>",
    "<a:tr>",
    "</a:tr>",
    "<c r='XFD1048576'>",
    "<c r='A0'>",
    "t='s'",
    "<v>-1</v>",
    "<v>1e999</v>",
    "s='99'",
    "<itemref idref='c0'/>",
    "obj",
    "endobj",
    "stream\n",
    "endstream",
    "<<",
    ">>",
    "[",
    "]",
    "(",
    ")",
    "10 0 R",
    "1000 0 R",
    "2 0 R",
    "/Length 0",
    "/Length 4294967295",
    "/Kids [2 0 R]",
    "/Count -1",
    "/Filter /FlateDecode",
    "/Filter [/LZWDecode /A85]",
    "/DecodeParms << /Predictor 15 /Columns 0 >>",
    "/Rotate 2147483647",
    "/X Do ",
    " Tf ",
    " Tj ",
    " cm ",
    "99999999999999999999",
    "-1",
    "0",
    "1e39",
    "BI ID EI ",
    "BDC ",
    "EMC ",
    "Content-Type: multipart/mixed; boundary=b\n",
    "\n--b\n",
    "=?utf-8?b?4pyT?=",
    "From ",
    "\u{feff}",
    "\u{0}",
    "{",
    "}",
    "\\",
    "\\u{d800}",
    ",",
    ";",
    "\t",
    "# ",
    "===",
    "~~~",
];

fn changed(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=chance.below(8) {
        let at = chance.below(bytes.len() + 1);
        let to = (at + chance.below(64)).min(bytes.len());
        match chance.below(7) {
            0 if at < bytes.len() => bytes[at] = chance.below(256) as u8,
            1 => drop(bytes.drain(at..to)),
            2 => {
                let piece = bytes[at..to].repeat(1 + chance.below(50));
                bytes.splice(at..at, piece);
            }
            3 => bytes.truncate(bytes.len() - chance.below(bytes.len() / 4 + 1)),
            4 => {
                let from = chance.below(bytes.len() + 1);
                let piece = bytes[from..(from + 100).min(bytes.len())].to_vec();
                bytes.splice(at..to, piece);
            }
            _ => {
                let token = chance.pick(TOKENS);
                bytes.splice(at..at, token.bytes());
            }
        }
    }
    bytes
}

/// An archive with one or two of its parts changed.
fn repacked(archive: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut parts = made::parts(archive);
    for _ in 0..=chance.below(2) {
        let number = chance.below(parts.len());
        let (_, part) = &mut parts[number];
        *part = changed(part, chance);
    }
    made::packed_parts(&parts)
}

fn document(case: u64) -> (&'static str, Vec<u8>) {
    let mut chance = Chance(case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    chance.below(2);
    let paragraph = "<w:p><w:pPr><w:pStyle w:val='Heading1'/></w:pPr><w:r><w:t>One</w:t><w:tab/></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
    let slide = "<p:sp><p:nvPr><p:ph type='title'/></p:nvPr><a:p><a:r><a:t>Title</a:t></a:r></a:p></p:sp><p:graphicFrame><a:tbl><a:tr><a:tc><a:p><a:r><a:t>x</a:t></a:r></a:p></a:tc></a:tr></a:tbl></p:graphicFrame>";
    let rows = "<row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' t='inlineStr'><is><t>b</t></is></c></row><row r='2'><c r='A2' s='1'><v>45292</v></c><c r='C2' t='b'><v>1</v></c></row>";
    let page = "BT /F 12 Tf 72 700 Td (Words) Tj [(a) -300 (b)] TJ 0 -14 Td <4142> Tj ET /X Do q 2 0 0 2 0 0 cm Q";
    let map = "begincmap 1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfrange <41> <5a> <0061> endbfrange endcmap";
    let objects = format!(
        "3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 1001 0 R >>\nendobj\n1001 0 obj\n<< /Length {} >>\nstream\n{map}\nendstream\nendobj\n\
         1000 0 obj\n<< /Subtype /Form /Matrix [1 0 0 1 0 0] /Length 24 >>\nstream\nBT /F 9 Tf (form) Tj ET \nendstream\nendobj\n\
         1002 0 obj\n<< /First 1003 0 R >>\nendobj\n1003 0 obj\n<< /Title (Words) /Dest [10 0 R /Fit] /Next 1003 0 R >>\nendobj\n",
        map.len()
    );
    let message = "From: Ada <a@x.org>\nTo: b@x.org\nMessage-ID: <1@x>\nSubject: =?utf-8?q?caf=C3=A9?=\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nWords\n--b\nContent-Type: text/html\n\n<p>Words\n--b--\n";
    match chance.below(11) {
        0 => ("a.docx", repacked(&made::docx(paragraph), &mut chance)),
        1 => (
            "a.pptx",
            repacked(&made::pptx(&[slide, slide]), &mut chance),
        ),
        2 => ("a.xlsx", repacked(&made::xlsx(rows), &mut chance)),
        3 => (
            "a.epub",
            repacked(
                &made::epub(&["<h1>One</h1><p>x", "<table><td>y"]),
                &mut chance,
            ),
        ),
        4 => ("a.docx", changed(&made::docx(paragraph), &mut chance)),
        5..=7 => (
            "a.pdf",
            changed(
                &made::pdf_with(&[page, page], "/Outlines 1002 0 R", &objects),
                &mut chance,
            ),
        ),
        8 => ("a.eml", changed(message.as_bytes(), &mut chance)),
        9 => ("a.html", changed(include_bytes!("page.html"), &mut chance)),
        _ => {
            let text = "# One\n\n| a | b |\n|---|---|\n\n{\"a\": [1, {\"b\": null}]}\n\na;b\n1;2\n\n> - `x`\n";
            let name = chance.pick(&["a.md", "a.txt", "a.json", "a.jsonl", "a.csv", "a.tsv", "a"]);
            (name, changed(text.as_bytes(), &mut chance))
        }
    }
}

/// Reads a case, and holds what was read to what every extraction promises.
fn case(number: u64) {
    let (name, bytes) = document(number);
    let Ok(read) = extract(&bytes, name, &Limits::default()) else {
        return;
    };
    assert!(!read.text.trim().is_empty());
    assert!(
        read.pages.is_sorted()
            && read
                .headings
                .is_sorted_by(|one, next| one.start < next.start)
    );
    for heading in &read.headings {
        assert!(read.text.is_char_boundary(heading.start) && heading.start < read.text.len());
        assert!((1..=6).contains(&heading.level) && !heading.title.is_empty());
    }
    assert!(read.pages.iter().all(|at| read.text.is_char_boundary(*at)));
}

thread_local!(static BROKE_KNOWN: Cell<bool> = const { Cell::new(false) });

/// What a release build computes and a debug build breaks on: calamine counts a column of too many letters.
fn is_known(place: Option<&std::panic::Location<'_>>) -> bool {
    place.is_some_and(|place| place.file().contains("calamine-0.38.0/src/xlsx/mod.rs"))
}

fn run(cases: std::ops::Range<u64>) {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        BROKE_KNOWN.set(is_known(panic.location()));
        told(panic);
    }));
    let broken: Vec<u64> = cases
        .filter(|number| {
            // Told while it runs: what does not end is the last one that was begun.
            thread_local!(static TOLD: Cell<u64> = const { Cell::new(0) });
            if number / 1_000 != TOLD.replace(number / 1_000) {
                eprintln!("case {number}");
            }
            catch_unwind(AssertUnwindSafe(|| case(*number))).is_err() && !BROKE_KNOWN.take()
        })
        .collect();
    assert!(broken.is_empty(), "broken cases: {broken:?}");
}

#[test]
fn some_mutations() {
    run(0..400);
}

#[test]
#[ignore = "takes minutes"]
fn many_mutations() {
    run(0..CASES);
}

//! Small files that ask for much: each is refused by name or read, with work that grows as the file does. Nothing here is
//! timed; what grows faster does not end.

use extract::{Limits, extract};

mod made;

/// Refused for this, or read.
type Outcome = Result<(), &'static str>;

fn check(what: &str, name: &str, bytes: &[u8], expected: Outcome) {
    let limits = Limits {
        max_unpacked_bytes: 20_000_000,
        max_text_bytes: 5_000_000,
        max_operators: 3_000_000,
        ..Limits::default()
    };
    let outcome = extract(bytes, name, &limits);
    let outcome = outcome.map(|_| ()).map_err(|error| error.name());
    assert_eq!(outcome, expected, "{what}");
}

fn numbered(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

#[test]
fn html() {
    let check = |what: &str, page: String, expected: Outcome| {
        check(what, "a.html", page.as_bytes(), expected);
    };
    let complex = Err("DocumentTooComplex");
    let spaced = numbered(25_000, |n| format!(" a{n}"));
    check("attributes", format!("<p{spaced}>words</p>"), complex);
    let page = format!("<a href=b></a><p{spaced}><a href=c>");
    assert_eq!(extract::links(page.as_bytes()).targets, ["b"]);
    let slashed = numbered(25_000, |n| format!("/a{n}"));
    check(
        "attributes without white space",
        format!("<p{slashed}>words</p>"),
        complex,
    );
    let quoted = numbered(25_000, |n| format!("a{n}=\"\""));
    check(
        "attributes in a row",
        format!("<p {quoted}>words</p>"),
        complex,
    );
    let doubled = numbered(25_000, |n| format!(" a{n} a{n}"));
    check(
        "doubled attributes",
        format!("<p{doubled}>words</p>"),
        complex,
    );
    let image = "iVBORw0KGgo/".repeat(60_000);
    check(
        "a picture",
        format!("<img src='data:image/png;base64,{image}'>words"),
        Ok(()),
    );
    check(
        "an open comment",
        format!("words<!--{}", "x".repeat(200_000)),
        Ok(()),
    );
    check(
        "scripts",
        "<script>a<b; ".repeat(200_000) + "</script>words",
        Ok(()),
    );
    check("entities", "&amp".repeat(200_000), Ok(()));
    check(
        "cells",
        "<table><tr>".to_owned() + &"<td>".repeat(200_000) + "words",
        Ok(()),
    );
    check("ends", "</div>".repeat(200_000) + "words", Ok(()));
    check(
        "closed by themselves",
        "<svg>".to_owned() + &"<a/>".repeat(200_000),
        Err("EmptyDocument"),
    );
}

/// The parser took 3 GB for the largest file of such rows.
#[test]
fn a_long_table_of_markdown() {
    let table = "a|b\n-|-\n".to_owned() + &"a|b\n".repeat(3_000_000);
    let refused = extract(table.as_bytes(), "a.md", &Limits::default());
    assert_eq!(refused.unwrap_err().name(), "DocumentTooComplex");
}

#[test]
fn texts() {
    check(
        "records",
        "a.jsonl",
        "[]".repeat(300_000).as_bytes(),
        Err("EmptyDocument"),
    );
    check(
        "records of one",
        "a.jsonl",
        "[1]".repeat(300_000).as_bytes(),
        Ok(()),
    );
    let key = "k".repeat(100_000);
    let paths = format!("{{\"{key}\":[{}{{}}]}}", "{\"a\":1},".repeat(6_000));
    check(
        "long paths",
        "a.json",
        paths.as_bytes(),
        Err("DocumentTooLarge"),
    );
    let wide = ",".repeat(200_000) + "x\n" + &",".repeat(200_000) + "y\n";
    check("wide rows", "a.csv", wide.as_bytes(), Ok(()));
    let filled = |cells: usize| "a,".repeat(cells) + "\n1,2\n";
    check("many cells", "a.csv", filled(100_000).as_bytes(), Ok(()));
    check(
        "too many cells",
        "a.csv",
        filled(100_001).as_bytes(),
        Err("DocumentTooComplex"),
    );
    let name = "n".repeat(200_000) + ",b\n" + &"1,2\n".repeat(1_000);
    check(
        "a long column name",
        "a.csv",
        name.as_bytes(),
        Err("DocumentTooLarge"),
    );
    let open = "\"".to_owned() + &"a,b\n".repeat(300_000);
    check("an open quote", "a.csv", open.as_bytes(), Ok(()));
    for part in [
        "# a\n", "> ", "- ", "[", "![", "*a_ ", "`", "<h1>", "|a\n|-\n", "[a]: b\n", "<!--", "&",
    ] {
        check(part, "a.md", part.repeat(60_000).as_bytes(), Ok(()));
    }
    check(
        "underlines",
        "a.txt",
        "a\n=\n\nabc\n===\n\n".repeat(200_000).as_bytes(),
        Ok(()),
    );
}

#[test]
fn mail() {
    let head = "From: a@x.org\nTo: b@x.org\nSubject: x\nMIME-Version: 1.0\n";
    let nested = numbered(20_000, |n| {
        format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")
    });
    let messages = "Content-Type: message/rfc822\n\n".repeat(100_000);
    let parts = "--b\nContent-Type: text/html\n\n<p>x\n".repeat(100_000);
    let mixed = format!("{head}Content-Type: multipart/mixed; boundary=b\n\n{parts}");
    let boundaries = format!(
        "{head}Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--".repeat(300_000)
    );
    for (what, text) in [
        ("parts in parts", format!("{head}{nested}words")),
        ("messages in messages", format!("{head}{messages}words")),
        ("parts", mixed),
        ("boundaries", boundaries),
        (
            "fields",
            head.to_owned() + &"X-A: b\n".repeat(200_000) + "\nwords",
        ),
        (
            "people",
            format!("{head}Cc: {}\n\nwords", "a <b@c>, ".repeat(200_000)),
        ),
        (
            "words",
            format!(
                "{head}Subject: {}\n\nwords",
                "=?utf-8?q?a?= ".repeat(40_000)
            ),
        ),
        (
            "a mailbox",
            "From a Mon\nFrom: a@x.org\nMessage-ID: <1>\nTo: b\n\nx\n\n".repeat(100_000),
        ),
    ] {
        check(what, "a.eml", text.as_bytes(), Ok(()));
    }
}

#[test]
fn docx() {
    let paragraph = "<w:p><w:r><w:t>words</w:t></w:r></w:p>";
    let cell = format!("<w:tc>{paragraph}</w:tc>");
    let attributes = numbered(25_000, |n| format!(" a{n}=''"));
    let titles = numbered(50_000, |n| {
        format!("<w:style w:styleId='s{n}'><w:name w:val='Title'/></w:style>")
    });
    let titled = "<w:p><w:pPr><w:pStyle w:val='none'/></w:pPr></w:p>".repeat(50_000);
    for (what, body, expected) in [
        (
            "attributes",
            format!("<w:p{attributes}/>{paragraph}"),
            Ok(()),
        ),
        (
            "paragraphs that others close",
            "<w:p></x>".repeat(40_000),
            Err("TooDeeplyNested"),
        ),
        (
            "tables that others close",
            "<w:tbl></x>".repeat(40_000),
            Err("TooDeeplyNested"),
        ),
        (
            "ends",
            "</w:p>".repeat(200_000) + paragraph,
            Err("MalformedDocument"),
        ),
        (
            "nothing is closed",
            "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>words".to_owned(),
            Ok(()),
        ),
        (
            "cells",
            format!("<w:tbl><w:tr>{}</w:tr></w:tbl>", cell.repeat(200_000)),
            Ok(()),
        ),
        (
            "tables in a cell",
            format!(
                "<w:tbl><w:tr><w:tc>{}{paragraph}",
                "<w:tbl><w:tr></w:tr></w:tbl>".repeat(200_000)
            ),
            Ok(()),
        ),
        (
            "breaks",
            format!("<w:p>{}{paragraph}</w:p>", "<w:br/>".repeat(200_000)),
            Ok(()),
        ),
        (
            "lists",
            format!("<w:p><w:pPr><w:ilvl w:val='99999999999'/></w:pPr></w:p>{paragraph}"),
            Ok(()),
        ),
    ] {
        check(what, "a.docx", &made::docx(&body), expected);
    }
    let styles = (
        "word/footnotes.xml",
        format!("<w:styles>{titles}</w:styles>"),
    );
    check(
        "titles",
        "a.docx",
        &made::docx_with(&(titled + paragraph), &[styles]),
        Ok(()),
    );
}

#[test]
fn pptx() {
    let text = "<p:sp><a:p><a:r><a:t>words</a:t></a:r></a:p></p:sp>";
    let cell = "<a:tc><a:p><a:r><a:t>words</a:t></a:r></a:p></a:tc>";
    for (what, slide, expected) in [
        (
            "cells",
            format!("<a:tr>{}</a:tr>", cell.repeat(200_000)),
            Ok(()),
        ),
        (
            "rows that are not closed",
            "<a:tr></x>".repeat(40_000) + text,
            Err("TooDeeplyNested"),
        ),
        ("breaks", "<a:br/>".repeat(200_000) + text, Ok(())),
        ("blanks", " ".repeat(21_000_000), Err("DocumentTooLarge")),
    ] {
        check(what, "a.pptx", &made::pptx(&[&slide]), expected);
    }
    check(
        "slides",
        "a.pptx",
        &made::pptx(&[text; 5_001]),
        Err("TooManyPages"),
    );
}

#[test]
fn xlsx() {
    let row = "<row r='1'><c r='A1'><v>1</v></c></row>";
    let with = |name: &str, part: String| {
        let parts = [(name, part)];
        made::xlsx_with(row, &parts)
    };
    let strings = |attributes: &str, items: &str| {
        with(
            "xl/sharedStrings.xml",
            format!("<sst {attributes}>{items}</sst>"),
        )
    };
    let item = "<si><t>a</t></si>";
    let malformed = Err("MalformedDocument");
    let complex = Err("DocumentTooComplex");
    for (what, bytes, expected) in [
        (
            "a count that lies",
            strings("uniqueCount='99999999999'", item),
            malformed,
        ),
        (
            "one that does not fit",
            strings("uniqueCount = \"99999999999999999999999999\"", item),
            malformed,
        ),
        (
            "one with zeros",
            strings(
                "uniqueCount='0000000000000000000000000000099999999999'",
                item,
            ),
            malformed,
        ),
        (
            "an honest count",
            strings("count='1' uniqueCount='1'", item),
            Ok(()),
        ),
        (
            "texts",
            strings("uniqueCount='1'", &"<si><t>a</t></si>".repeat(1_100_000)),
            complex,
        ),
        (
            "formats",
            with(
                "xl/styles.xml",
                format!(
                    "<styleSheet><cellXfs>{}</cellXfs></styleSheet>",
                    "<xf numFmtId='0'/>".repeat(70_000)
                ),
            ),
            complex,
        ),
        (
            "a name in every format",
            with(
                "xl/styles.xml",
                format!(
                    "<styleSheet><fonts><font><name val='{}'/></font></fonts><cellXfs>{}</cellXfs></styleSheet>",
                    "x".repeat(100_000),
                    "<xf fontId='0'/>".repeat(60_000)
                ),
            ),
            complex,
        ),
        (
            "under another name",
            with(
                "XL/Styles.XML",
                format!(
                    "<styleSheet><cellXfs>{}</cellXfs></styleSheet>",
                    "<xf/>".repeat(70_000)
                ),
            ),
            complex,
        ),
        (
            "blanks in a part of no kind",
            with("xl/media/x.png", " ".repeat(21_000_000)),
            Err("DocumentTooLarge"),
        ),
    ] {
        check(what, "a.xlsx", &bytes, expected);
    }
    // One long text in every cell of a row, and of many rows.
    let text = format!(
        "<sst uniqueCount='1'><si><t>{}</t></si></sst>",
        "word ".repeat(20_000)
    );
    let cells = "<c t='s'><v>0</v></c>".repeat(16_000);
    let shared = [("xl/sharedStrings.xml", text)];
    for rows in [
        format!("<row r='1'>{cells}</row>"),
        "<row><c t='s'><v>0</v></c></row>".repeat(2_000),
    ] {
        check(
            "a text in every cell",
            "a.xlsx",
            &made::xlsx_with(&rows, &shared),
            Err("DocumentTooLarge"),
        );
    }
    let sheet = "<worksheet><dimension ref='A1:XFD1048576'/><sheetData><row r='1048576'><c r='XFD1048576'><v>1</v></c></row></sheetData></worksheet>";
    check(
        "a sheet that claims to be full",
        "a.xlsx",
        &with("xl/worksheets/sheet1.xml", sheet.to_owned()),
        Ok(()),
    );
    let rows = numbered(60_000, |n| {
        format!("<row r='{0}'><c r='XFD{0}'><v>1</v></c></row>", n + 1)
    });
    check("cells at the right", "a.xlsx", &made::xlsx(&rows), Ok(()));
}

#[test]
fn epub() {
    let chapter = ("OEBPS/c.xhtml", "<p>Words</p>");
    let item = "<item id='c' href='c.xhtml' media-type='application/xhtml+xml'/>";
    let items = numbered(100_000, |n| {
        format!("<item id='x{n}' href='x.css' media-type='text/css'/>")
    }) + item;
    let spine = "<itemref idref='c'/>";
    let circle = "<item id='a' href='a.svg' fallback='b'/><item id='b' href='b.svg' fallback='a'/>"
        .to_owned()
        + item;
    let attributes = numbered(25_000, |n| format!(" a{n}=''"));
    for (what, book, expected) in [
        (
            "items",
            made::book(&items, &spine.repeat(100_000), &[chapter]),
            Ok(()),
        ),
        (
            "a circle",
            made::book(
                &circle,
                &("<itemref idref='a'/>".repeat(1_000) + spine),
                &[chapter],
            ),
            Ok(()),
        ),
        (
            "attributes",
            made::book(&format!("<item{attributes}/>{item}"), spine, &[chapter]),
            Ok(()),
        ),
        (
            "attributes of a chapter",
            made::book(
                item,
                spine,
                &[("OEBPS/c.xhtml", &format!("<p{attributes}>Words</p>"))],
            ),
            Err("DocumentTooComplex"),
        ),
        (
            "blanks",
            made::book(item, spine, &[("OEBPS/c.xhtml", &" ".repeat(21_000_000))]),
            Err("DocumentTooLarge"),
        ),
    ] {
        check(what, "a.epub", &book, expected);
    }
}

#[test]
fn pdf() {
    check(
        "pages",
        "a.pdf",
        &made::pdf(&vec!["BT ET"; 10_000]),
        Err("TooManyPages"),
    );
    // One code means a page of text.
    let meaning = "0041".repeat(30_000);
    let map = format!(
        "begincmap 1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfchar <41> <{meaning}> endbfchar endcmap"
    );
    let font = |map: &str| {
        format!(
            "3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 1000 0 R >>\nendobj\n1000 0 obj\n<< /Length {} >>\nstream\n{map}\nendstream\nendobj\n",
            map.len()
        )
    };
    let shown = format!("BT /F 9 Tf ({}) Tj ET", "A".repeat(30_000));
    check(
        "a page in a letter",
        "a.pdf",
        &made::pdf_with(&[&shown], "", &font(&map)),
        Err("DocumentTooLarge"),
    );
    let giant = "<41> <0041> ".repeat(700_000);
    let giant = format!("begincmap 1 beginbfchar {giant} endbfchar endcmap");
    check(
        "a giant map",
        "a.pdf",
        &made::pdf_with(&["BT /F 9 Tf (A) Tj ET"], "", &font(&giant)),
        Err("DocumentTooLarge"),
    );
    // Names that mean a large dictionary each time they are used.
    let many = numbered(20_000, |n| format!("/K{n} 0 "));
    let fonts =
        format!("3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica {many} >>\nendobj\n");
    let chosen = "BT /F 9 Tf ".repeat(100_000);
    check(
        "a large font",
        "a.pdf",
        &made::pdf_with(&[&chosen], "", &fonts),
        Err("DocumentTooComplex"),
    );
    let saved = "q ".repeat(200_000) + "BT /F 9 Tf (A) Tj ET" + &" Q".repeat(200_000);
    check("saved states", "a.pdf", &made::pdf(&[&saved]), Ok(()));
    let open = "BT /F 9 Tf (A) Tj ET [".to_owned() + &"[".repeat(200_000);
    check("open lists", "a.pdf", &made::pdf(&[&open]), Ok(()));
    let drawn = "/X Do ".repeat(20_000);
    let itself = format!(
        "1000 0 obj\n<< /Subtype /Form /Length {} >>\nstream\n{drawn}\nendstream\nendobj\n",
        drawn.len()
    );
    check(
        "a form in itself",
        "a.pdf",
        &made::pdf_with(&["/X Do"], "", &itself),
        Err("DocumentTooComplex"),
    );
}

//! Small documents made for tests: just enough of each format to be one.

#![allow(dead_code, reason = "each test file uses some")]

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// An archive of parts.
pub fn archive(parts: &[(&str, String)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default())
            .expect("memory holds it");
        zip.write_all(content.as_bytes()).expect("memory holds it");
    }
    zip.finish().expect("memory holds it").into_inner()
}

/// The parts of an archive.
pub fn parts(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).expect("it was made here");
    (0..archive.len())
        .map(|number| {
            let mut part = archive.by_index(number).expect("it was made here");
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes).expect("memory holds it");
            let name = part.name().expect("it was made here").into_owned();
            (name, bytes)
        })
        .collect()
}

/// An archive of parts of any bytes.
pub fn packed_parts(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(name.as_str(), SimpleFileOptions::default())
            .expect("memory holds it");
        zip.write_all(content).expect("memory holds it");
    }
    zip.finish().expect("memory holds it").into_inner()
}

const XML: &str = "<?xml version='1.0' encoding='UTF-8' standalone='yes'?>";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

fn relations(targets: &[(&str, &str, &str)]) -> String {
    let relations: String = targets
        .iter()
        .map(|(id, kind, target)| {
            format!("<Relationship Id='{id}' Type='{OFFICE}/{kind}' Target='{target}'/>")
        })
        .collect();
    format!(
        "{XML}<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>{relations}</Relationships>"
    )
}

/// A Word document of this body.
pub fn docx(body: &str) -> Vec<u8> {
    docx_with(body, &[])
}

/// The same with more parts.
pub fn docx_with(body: &str, more: &[(&str, String)]) -> Vec<u8> {
    let styles = "<w:styles xmlns:w='w'>\
        <w:style w:styleId='Title'><w:name w:val='Title'/></w:style>\
        <w:style w:styleId='Heading1'><w:name w:val='heading 1'/></w:style>\
        <w:style w:styleId='Heading2'><w:name w:val='heading 2'/></w:style>\
        <w:style w:styleId='Mine'><w:name w:val='My heading'/><w:basedOn w:val='Heading2'/></w:style></w:styles>";
    let mut parts = vec![
        (
            "word/document.xml",
            format!("{XML}<w:document xmlns:w='w'><w:body>{body}</w:body></w:document>"),
        ),
        ("word/styles.xml", styles.to_owned()),
    ];
    parts.extend(more.iter().cloned());
    archive(&parts)
}

/// A presentation of slides, each given by what stands in its shape tree. The first has notes.
pub fn pptx(slides: &[&str]) -> Vec<u8> {
    let names: Vec<[String; 3]> = (1..=slides.len())
        .map(|n| {
            [
                format!("rId{n}"),
                format!("slides/slide{n}.xml"),
                format!("ppt/slides/slide{n}.xml"),
            ]
        })
        .collect();
    let ids: String = names
        .iter()
        .rev()
        .map(|[id, ..]| format!("<p:sldId id='256' r:id='{id}'/>"))
        .collect();
    let targets: Vec<(&str, &str, &str)> = names
        .iter()
        .map(|[id, target, _]| (id.as_str(), "slide", target.as_str()))
        .collect();
    let mut parts = vec![
        (
            "ppt/presentation.xml",
            format!("{XML}<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>"),
        ),
        ("ppt/_rels/presentation.xml.rels", relations(&targets)),
        (
            "ppt/slides/_rels/slide1.xml.rels",
            relations(&[("rId1", "notesSlide", "../notesSlides/notesSlide1.xml")]),
        ),
        (
            "ppt/notesSlides/notesSlide1.xml",
            "<p:notes xmlns:p='p' xmlns:a='a'><p:sp><p:nvPr><p:ph type='sldNum'/></p:nvPr><a:p><a:r><a:t>7</a:t></a:r></a:p></p:sp><p:sp><a:p><a:r><a:t>Speak slowly.</a:t></a:r></a:p></p:sp></p:notes>".to_owned(),
        ),
    ];
    for ([_, _, name], slide) in names.iter().zip(slides) {
        parts.push((
            name,
            format!("{XML}<p:sld xmlns:p='p' xmlns:a='a'><p:spTree>{slide}</p:spTree></p:sld>"),
        ));
    }
    archive(&parts)
}

/// A workbook with these rows in a sheet named `Orders`.
pub fn xlsx(rows: &str) -> Vec<u8> {
    xlsx_with(rows, &[])
}

/// The same with more parts, or with others of the same name.
pub fn xlsx_with(rows: &str, more: &[(&str, String)]) -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let usual = [
        (
            "_rels/.rels",
            relations(&[("rId1", "officeDocument", "xl/workbook.xml")]),
        ),
        (
            "xl/workbook.xml",
            format!(
                "{XML}<workbook xmlns='{main}' xmlns:r='{OFFICE}'><sheets><sheet name='Orders' sheetId='1' r:id='rId1'/></sheets></workbook>"
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            relations(&[
                ("rId1", "worksheet", "worksheets/sheet1.xml"),
                ("rId2", "styles", "styles.xml"),
                ("rId3", "sharedStrings", "sharedStrings.xml"),
            ]),
        ),
        (
            "xl/styles.xml",
            format!(
                "{XML}<styleSheet xmlns='{main}'><cellXfs count='2'><xf numFmtId='0'/><xf numFmtId='14'/></cellXfs></styleSheet>"
            ),
        ),
        (
            "xl/sharedStrings.xml",
            format!(
                "{XML}<sst xmlns='{main}'><si><t>customer</t></si><si><t>due</t></si><si><r><t xml:space='preserve'>Ada </t></r><r><t>Lovelace</t></r></si></sst>"
            ),
        ),
        (
            "xl/worksheets/sheet1.xml",
            format!("{XML}<worksheet xmlns='{main}'><sheetData>{rows}</sheetData></worksheet>"),
        ),
    ];
    let other = |name: &str| {
        more.iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let mut parts: Vec<(&str, String)> = Vec::from(usual);
    parts.retain(|(name, _)| !other(name));
    parts.extend(more.iter().cloned());
    archive(&parts)
}

/// A book of chapters.
pub fn epub(chapters: &[&str]) -> Vec<u8> {
    let names: Vec<String> = (0..chapters.len())
        .map(|n| format!("OEBPS/text/c{n}.xhtml"))
        .collect();
    let items: String = (0..chapters.len())
        .map(|n| {
            format!("<item id='c{n}' href='text/c{n}.xhtml' media-type='application/xhtml+xml'/>")
        })
        .collect();
    let spine: String = (0..chapters.len())
        .map(|n| format!("<itemref idref='c{n}'/>"))
        .collect();
    let mut parts = vec![
        ("mimetype", "application/epub+zip".to_owned()),
        (
            "META-INF/container.xml",
            "<container><rootfiles><rootfile full-path='OEBPS/book.opf'/></rootfiles></container>"
                .to_owned(),
        ),
        (
            "OEBPS/book.opf",
            format!(
                "<package xmlns:dc='dc'><metadata><dc:title>The book</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
            ),
        ),
    ];
    for (name, chapter) in names.iter().zip(chapters) {
        parts.push((name, format!("<html><body>{chapter}</body></html>")));
    }
    archive(&parts)
}

/// A book of these items, spine and parts.
pub fn book(items: &str, spine: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let opf = format!("<package><manifest>{items}</manifest><spine>{spine}</spine></package>");
    let container =
        "<container><rootfiles><rootfile full-path='OEBPS/book.opf'/></rootfiles></container>";
    let mut all = vec![
        ("mimetype", "application/epub+zip".to_owned()),
        ("META-INF/container.xml", container.to_owned()),
        ("OEBPS/book.opf", opf),
    ];
    all.extend(parts.iter().map(|(name, part)| (*name, (*part).to_owned())));
    archive(&all)
}

/// A PDF file of pages, each given by its content stream; `/F` is Helvetica. Readers find the objects without a table.
pub fn pdf(pages: &[&str]) -> Vec<u8> {
    pdf_with(pages, "", "")
}

/// The same with more in the catalog, and more objects from number 1000 on.
pub fn pdf_with(pages: &[&str], catalog: &str, objects: &str) -> Vec<u8> {
    let page = |n: usize| 10 + 2 * n;
    let kids: String = (0..pages.len())
        .map(|n| format!("{} 0 R ", page(n)))
        .collect();
    let mut file = format!(
        "%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R {catalog} >>\nendobj\n\
         2 0 obj\n<< /Type /Pages /Kids [{kids}] /Count {} >>\nendobj\n\
         3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>\nendobj\n",
        pages.len()
    );
    for (n, content) in pages.iter().enumerate() {
        file.push_str(&format!(
            "{0} 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {1} 0 R\n\
             /Resources << /Font << /F 3 0 R >> /XObject << /X 1000 0 R >> >> >>\nendobj\n\
             {1} 0 obj\n<< /Length {2} >>\nstream\n{content}\nendstream\nendobj\n",
            page(n),
            page(n) + 1,
            content.len()
        ));
    }
    file.push_str(objects);
    file.push_str("trailer\n<< /Root 1 0 R /Size 2000 >>\n%%EOF\n");
    file.into_bytes()
}

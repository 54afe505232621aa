//! E-mail messages: who wrote to whom, when and about what, then the text; attachments are named, not read.

use mail_parser::{Address, MessageParser, MimeHeaders};

use crate::{ExtractError, Extracted, Format, Limits, html, one_line, refuse_long};

/// Headers that begin messages and no other text.
const FIELDS: [&str; 14] = [
    "received",
    "return-path",
    "delivered-to",
    "message-id",
    "mime-version",
    "from",
    "to",
    "date",
    "subject",
    "x-mailer",
    "dkim-signature",
    "reply-to",
    "cc",
    "x-received",
];
/// A message begins with some of them, and one says who wrote it.
const LEAST_FIELDS: usize = 3;
/// How far the header is looked for.
const HEAD_BYTES: usize = 16_384;

/// Whether bytes begin as a message does; of a file named for one, less is asked.
pub(crate) fn is_message(bytes: &[u8], named: bool) -> bool {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let (mut known, mut author) = (0, false);
    for (number, line) in head.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        // A mailbox's separator may stand before the first field.
        if number == 0 && line.starts_with(b"From ") {
            continue;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return false;
        };
        let field = line[..colon].to_ascii_lowercase();
        if !field.iter().all(|byte| byte.is_ascii_graphic()) {
            return false;
        }
        let field = std::str::from_utf8(&field).unwrap_or_default();
        known += usize::from(FIELDS.contains(&field));
        author |= field == "from";
    }
    if named {
        known > 0
    } else {
        author && known >= LEAST_FIELDS
    }
}

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let message =
        MessageParser::default()
            .parse(bytes)
            .ok_or_else(|| ExtractError::MalformedDocument {
                format: "EML",
                reason: "it has no header".to_owned(),
            })?;
    let mut text = String::new();
    let subject = message.subject().and_then(one_line);
    field(&mut text, "Subject", subject.as_deref());
    field(&mut text, "From", people(message.from()).as_deref());
    field(&mut text, "To", people(message.to()).as_deref());
    field(&mut text, "Cc", people(message.cc()).as_deref());
    let date = message.date().map(|date| date.to_rfc3339());
    field(&mut text, "Date", date.as_deref());
    // Of a message that is written twice, as text and as HTML, the text is read.
    for part in message.text_bodies() {
        let contents = part.text_contents().unwrap_or_default();
        let words = if part.is_text_html() {
            html::read(contents, limits)?.text
        } else {
            contents.replace("\r\n", "\n")
        };
        if !words.trim().is_empty() {
            text.push_str("\n\n");
            text.push_str(words.trim_matches('\n').trim_end());
        }
        refuse_long(text.len(), limits)?;
    }
    let attached: Vec<&str> = message
        .attachments()
        .filter_map(|part| part.attachment_name())
        .collect();
    if !attached.is_empty() {
        text.push_str("\n\nAttachments: ");
        text.push_str(&attached.join(", "));
    }
    Ok(Extracted {
        text: text.trim_start().to_owned(),
        title: subject,
        format: Format::Email,
        headings: Vec::new(),
        pages: Vec::new(),
    })
}

fn field(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value.and_then(one_line) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(name);
        text.push_str(": ");
        text.push_str(&value);
    }
}

fn people(addresses: Option<&Address<'_>>) -> Option<String> {
    let written: Vec<String> = addresses?
        .iter()
        .filter_map(|person| match (person.name(), person.address()) {
            (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
            (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
            (None, None) => None,
        })
        .collect();
    (!written.is_empty()).then(|| written.join(", "))
}

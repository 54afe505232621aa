//! E-mail messages: who wrote to whom, when and about what, then the text; attachments are named, not read. A mailbox is its
//! messages one after the other, each under its subject.

use mail_parser::mailbox::mbox::MessageIterator;
use mail_parser::{Address, Message, MessageParser, MimeHeaders, PartType};

use crate::{ExtractError, Extracted, Format, Limits, Outline, html, one_line, refuse_long};

/// Fields of messages that memos and settings have too.
const FIELDS: [&str; 6] = ["from", "to", "cc", "date", "subject", "reply-to"];
/// Fields that programs write which send messages, and nobody else.
const TRACES: [&str; 8] = [
    "received",
    "return-path",
    "delivered-to",
    "message-id",
    "mime-version",
    "x-mailer",
    "dkim-signature",
    "x-received",
];
/// A message begins with some of them, and one says who wrote it.
const LEAST_FIELDS: usize = 3;
/// How far the header is looked for.
const HEAD_BYTES: usize = 16_384;
/// What stands before each message of a mailbox.
const SEPARATOR: &[u8] = b"From ";

/// Whether bytes begin as a message does; of a file named for one, less is asked. A memo has no address and no traces of
/// having been sent.
pub(crate) fn is_message(bytes: &[u8], named: bool) -> bool {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let (mut known, mut traces, mut author) = (0, 0, false);
    for (number, line) in head.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        // A mailbox's separator may stand before the first field.
        if number == 0 && line.starts_with(SEPARATOR) {
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
        traces += usize::from(TRACES.contains(&field));
        author |= field == "from" && line.contains(&b'@');
    }
    if named {
        known + traces > 0
    } else {
        author && traces > 0 && known + traces >= LEAST_FIELDS
    }
}

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let (mut text, mut headings, mut title) = (String::new(), Outline::default(), None);
    if bytes.starts_with(SEPARATOR) {
        for message in MessageIterator::new(bytes).flatten() {
            let (words, subject) = message_text(message.contents(), limits)?;
            if !text.is_empty() {
                text.push_str("\n\n\n");
            }
            if let Some(subject) = subject {
                headings.push(1, &subject, text.len());
            }
            text.push_str(&words);
            refuse_long(text.len(), limits)?;
        }
    } else {
        (text, title) = message_text(bytes, limits)?;
    }
    let mut headings = headings.finish();
    headings.retain(|heading| heading.start < text.len());
    Ok(Extracted {
        text,
        title,
        format: Format::Email,
        headings,
        pages: Vec::new(),
    })
}

/// What a message says, and its subject.
fn message_text(bytes: &[u8], limits: &Limits) -> Result<(String, Option<String>), ExtractError> {
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
    let added = add_bodies(&mut text, &message, limits);
    let attached = message
        .attachments()
        .filter_map(|part| part.attachment_name())
        .collect::<Vec<_>>();
    if !attached.is_empty() {
        text.push_str("\n\nAttachments: ");
        text.push_str(&attached.join(", "));
    }
    take_apart(message);
    added?;
    Ok((text.trim_start().to_owned(), subject))
}

/// Frees messages within messages one after the other: freed from the outermost, each would wait for the one within it, and
/// a hundred thousand of them for more stack than there is.
fn take_apart(message: Message<'_>) {
    let mut waiting = vec![message.parts];
    while let Some(parts) = waiting.pop() {
        for part in parts {
            if let PartType::Message(within) = part.body {
                waiting.push(within.parts);
            }
        }
    }
}

/// Of a message that is written twice, as text and as HTML, the text is read.
fn add_bodies(
    text: &mut String,
    message: &Message<'_>,
    limits: &Limits,
) -> Result<(), ExtractError> {
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
    Ok(())
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

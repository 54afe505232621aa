//! XML as a walk over elements and text: no tree, names without their prefixes, entities never expanded twice. Elements
//! that the file does not close, or closes in another order, are closed all the same: whoever visits meets them in pairs.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::{ExtractError, Limits};

/// What the walk meets.
pub(crate) enum Node<'n, 'x> {
    Open(&'n Element<'x>),
    Text(&'n str),
    Close(&'n str),
}

/// An element's start.
pub(crate) struct Element<'x> {
    start: BytesStart<'x>,
    name: String,
}

impl Element<'_> {
    /// The name without its prefix.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The value of the first attribute of that name, prefixes aside.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        // A check for doubled names would compare each with all before it.
        let mut attributes = self.start.attributes();
        attributes
            .with_checks(false)
            .flatten()
            .find_map(|attribute| {
                let key = attribute.key.local_name();
                if key.as_ref() != name {
                    return None;
                }
                unescaped(&attribute)
            })
    }

    /// Bytes of the attributes as they are written.
    pub(crate) fn length(&self) -> usize {
        self.start.attributes_raw().len()
    }

    /// The value of an attribute by its whole name, such as `r:id` beside an `id`.
    pub(crate) fn attribute_exactly(&self, name: &str) -> Option<String> {
        let attribute = self.start.try_get_attribute(name).ok().flatten()?;
        unescaped(&attribute)
    }
}

fn unescaped(attribute: &Attribute<'_>) -> Option<String> {
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    value.ok().map(|value| value.into_owned())
}

/// Walks through a part, in order.
///
/// # Errors
/// The visitor's, and those of XML that is malformed or nested too deeply.
pub(crate) fn walk(
    xml: &[u8],
    format: &'static str,
    limits: &Limits,
    mut visit: impl FnMut(Node<'_, '_>) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let decoded = decode(xml);
    let mut reader = Reader::from_str(&decoded);
    reader.config_mut().check_end_names = false;
    let malformed = |reason: String| ExtractError::MalformedDocument { format, reason };
    let mut open = OpenNames::default();
    loop {
        let event = reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?;
        match event {
            Event::Start(start) => {
                let element = element(start);
                if open.push(element.name()) > limits.max_nesting {
                    return Err(ExtractError::TooDeeplyNested {
                        format,
                        limit: limits.max_nesting,
                    });
                }
                visit(Node::Open(&element))?;
            }
            Event::Empty(start) => {
                let element = element(start);
                visit(Node::Open(&element))?;
                visit(Node::Close(element.name()))?;
            }
            Event::End(end) => {
                for _ in 0..open.to_close(end.local_name().as_ref()) {
                    visit(Node::Close(open.last()))?;
                    open.pop();
                }
            }
            Event::Text(text) => {
                visit(Node::Text(&text.xml10_content()))?;
            }
            Event::CData(text) => {
                visit(Node::Text(&text.xml10_content()))?;
            }
            Event::GeneralRef(reference) => {
                if let Ok(Some(character)) = reference.resolve_char_ref() {
                    visit(Node::Text(character.encode_utf8(&mut [0; 4])))?;
                } else if let Some(text) = resolve_predefined_entity(&reference) {
                    visit(Node::Text(text))?;
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    while !open.starts.is_empty() {
        visit(Node::Close(open.last()))?;
        open.pop();
    }
    Ok(())
}

/// The names of the open elements, one behind the other.
#[derive(Default)]
struct OpenNames {
    names: String,
    starts: Vec<usize>,
}

impl OpenNames {
    /// Answers how many are open now.
    fn push(&mut self, name: &str) -> usize {
        self.starts.push(self.names.len());
        self.names.push_str(name);
        self.starts.len()
    }

    fn last(&self) -> &str {
        let start = self.starts.last().copied();
        &self.names[start.unwrap_or(self.names.len())..]
    }

    fn pop(&mut self) {
        if let Some(start) = self.starts.pop() {
            self.names.truncate(start);
        }
    }

    /// How many elements an end tag closes: none if it closes nothing that is open.
    fn to_close(&self, name: &str) -> usize {
        let mut end = self.names.len();
        for (number, start) in self.starts.iter().rev().enumerate() {
            if self.names[*start..end] == *name {
                return number + 1;
            }
            end = *start;
        }
        0
    }
}

fn element(start: BytesStart<'_>) -> Element<'_> {
    let name = start.local_name().as_ref().to_owned();
    Element { start, name }
}

/// Parts are UTF-8 or UTF-16 by their marks.
pub(crate) fn decode(xml: &[u8]) -> std::borrow::Cow<'_, str> {
    let (encoding, mark) = encoding_rs::Encoding::for_bom(xml).unwrap_or((encoding_rs::UTF_8, 0));
    encoding.decode_without_bom_handling(&xml[mark..]).0
}

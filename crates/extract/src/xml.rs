//! XML as a walk over elements and text: no tree, names without their prefixes, entities never expanded twice.

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
        self.start.attributes().flatten().find_map(|attribute| {
            let key = attribute.key.local_name();
            if key.as_ref() != name {
                return None;
            }
            unescaped(&attribute)
        })
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
    let mut depth = 0_usize;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| malformed(error.to_string()))?;
        match event {
            Event::Start(start) => {
                depth += 1;
                if depth > limits.max_nesting {
                    return Err(ExtractError::TooDeeplyNested {
                        format,
                        limit: limits.max_nesting,
                    });
                }
                visit(Node::Open(&element(start)))?;
            }
            Event::Empty(start) => {
                let element = element(start);
                visit(Node::Open(&element))?;
                visit(Node::Close(element.name()))?;
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                visit(Node::Close(end.local_name().as_ref()))?;
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
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn element(start: BytesStart<'_>) -> Element<'_> {
    let name = start.local_name().as_ref().to_owned();
    Element { start, name }
}

/// Parts are UTF-8 or UTF-16 by their marks.
fn decode(xml: &[u8]) -> std::borrow::Cow<'_, str> {
    let (encoding, mark) = encoding_rs::Encoding::for_bom(xml).unwrap_or((encoding_rs::UTF_8, 0));
    encoding.decode_without_bom_handling(&xml[mark..]).0
}

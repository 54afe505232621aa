//! What each element means for the text: whether it shows, what it breaks, what it closes.

use html5ever::tokenizer::Tag;
use html5ever::tokenizer::states::RawKind;

/// The space that an element puts around itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

/// Elements that never have content.
pub(super) fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
            | "basefont"
            | "bgsound"
            | "frame"
            | "keygen"
    )
}

/// The tokenizer's state inside elements whose content is not markup.
pub(super) fn raw_kind(name: &str) -> Option<RawKind> {
    match name {
        "script" => Some(RawKind::ScriptData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(RawKind::Rawtext),
        "textarea" | "title" => Some(RawKind::Rcdata),
        _ => None,
    }
}

/// Whether an element's content is not part of the text that a reader sees.
pub(super) fn is_hidden(tag: &Tag) -> bool {
    let by_name = matches!(
        &*tag.name,
        "script"
            | "style"
            | "template"
            | "nav"
            | "noscript"
            | "title"
            | "svg"
            | "iframe"
            | "object"
            | "canvas"
            | "select"
            | "textarea"
            | "noembed"
            | "noframes"
            | "audio"
            | "video"
            | "datalist"
            | "dialog"
    );
    by_name
        || tag
            .attrs
            .iter()
            .any(|attribute| hides(&attribute.name.local, &attribute.value))
}

fn hides(name: &str, value: &str) -> bool {
    match name {
        "hidden" => !value.eq_ignore_ascii_case("false"),
        "aria-hidden" => value.eq_ignore_ascii_case("true"),
        // The pilcrow beside a heading that documentation generators add.
        "class" => value.split_whitespace().any(|class| class == "headerlink"),
        "role" => value.eq_ignore_ascii_case("navigation"),
        "style" => {
            let style: String = value.to_ascii_lowercase().split_whitespace().collect();
            style.contains("display:none") || style.contains("visibility:hidden")
        }
        _ => false,
    }
}

/// The space around an element; inline elements have none.
pub(super) fn gap(name: &str) -> Gap {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "table" | "pre" | "blockquote" | "dl"
        | "section" | "article" | "header" | "footer" | "main" | "aside" | "figure" | "form"
        | "fieldset" | "address" | "details" | "hr" | "center" | "hgroup" | "nav" | "xmp"
        | "listing" => Gap::Paragraph,
        "div" | "li" | "dt" | "dd" | "tr" | "br" | "caption" | "figcaption" | "summary"
        | "legend" | "option" | "body" | "html" | "head" | "thead" | "tbody" | "tfoot" | "ul"
        | "ol" | "menu" | "dir" => Gap::Line,
        _ => Gap::None,
    }
}

/// Formatting elements may overlap others, so they are not kept on the stack.
pub(super) fn is_structural(name: &str) -> bool {
    gap(name) != Gap::None || matches!(name, "td" | "th" | "template" | "math" | "svg")
}

/// The heading level of `h1` to `h6`.
pub(super) fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Open elements that a start tag closes, and the elements that the search for them does not leave.
pub(super) fn closes(name: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    const CELL: &[&str] = &["table", "td", "th", "caption", "template"];
    match name {
        "li" => Some((
            &["li", "p"],
            &["ul", "ol", "menu", "dir", "table", "td", "th"],
        )),
        "dt" | "dd" => Some((&["dt", "dd", "p"], &["dl", "table", "td", "th"])),
        "td" | "th" => Some((&["td", "th"], &["tr", "table"])),
        "tr" => Some((&["tr", "caption"], &["table"])),
        "thead" | "tbody" | "tfoot" => Some((&["thead", "tbody", "tfoot", "caption"], &["table"])),
        // A paragraph ends where any block begins.
        _ if gap(name) != Gap::None && name != "br" => Some((&["p"], CELL)),
        _ => None,
    }
}

/// Whether a stray end tag's search for its start tag stops at this open element.
pub(super) fn is_scope(open: &str, closing: &str) -> bool {
    let in_table = matches!(
        closing,
        "table" | "tr" | "td" | "th" | "thead" | "tbody" | "tfoot" | "body" | "html" | "template"
    );
    match open {
        "table" => !matches!(closing, "table" | "body" | "html"),
        "td" | "th" | "caption" => !in_table,
        "template" => closing != "template",
        _ => false,
    }
}

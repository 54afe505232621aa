//! Office Open XML: Word documents, presentations and workbooks.

pub(crate) mod docx;
pub(crate) mod pptx;
pub(crate) mod xlsx;

use std::collections::BTreeMap;

use crate::package::Package;
use crate::xml::{Node, walk};
use crate::{ExtractError, Limits, one_line};

/// The title in a document's properties.
fn title(
    package: &mut Package<'_>,
    format: &'static str,
    limits: &Limits,
) -> Result<Option<String>, ExtractError> {
    let Some(part) = package.part("docProps/core.xml")? else {
        return Ok(None);
    };
    let (mut title, mut inside) = (String::new(), false);
    walk(&part, format, limits, |node| {
        match node {
            Node::Open(element) => inside = element.name() == "title",
            Node::Text(text) if inside => title.push_str(text),
            Node::Text(_) => {}
            Node::Close(_) => inside = false,
        }
        Ok(())
    })?;
    Ok(one_line(&title))
}

/// What a part refers to.
struct Relation {
    /// The last word of its type, such as `slide`.
    kind: String,
    /// The part's name.
    target: String,
}

/// The relations of a part by their ids; none when it has none.
fn relations(
    package: &mut Package<'_>,
    part: &str,
    format: &'static str,
    limits: &Limits,
) -> Result<BTreeMap<String, Relation>, ExtractError> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let mut found = BTreeMap::new();
    let of_part = resolve(folder, &format!("_rels/{name}.rels"));
    let Some(xml) = package.part(&of_part)? else {
        return Ok(found);
    };
    walk(&xml, format, limits, |node| {
        if let Node::Open(element) = node
            && element.name() == "Relationship"
            && let (Some(id), Some(target)) = (element.attribute("Id"), element.attribute("Target"))
        {
            let kind = element.attribute("Type").unwrap_or_default();
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            let target = resolve(folder, &target);
            found.insert(id, Relation { kind, target });
        }
        Ok(())
    })?;
    Ok(found)
}

/// The part that a package is about, by its own relations.
fn main_part(
    package: &mut Package<'_>,
    usual: &str,
    format: &'static str,
    limits: &Limits,
) -> Result<String, ExtractError> {
    let mut relations = relations(package, "", format, limits)?.into_values();
    let main = relations.find(|relation| relation.kind == "officeDocument");
    Ok(main.map_or_else(|| usual.to_owned(), |relation| relation.target))
}

/// A target's name within the package, from the folder of the part that refers to it.
pub(crate) fn resolve(folder: &str, target: &str) -> String {
    let mut path: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|step| !step.is_empty()).collect()
    };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.join("/")
}

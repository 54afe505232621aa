//! Hits that are ranges of stored texts and no passages of the index.

use std::collections::HashMap;

use retrieval::{Hit, Mask};

/// Hits by their passage ids, each with the readers of its document.
#[derive(Debug, Clone, Default)]
pub struct Texts(HashMap<String, (Vec<String>, Hit)>);

impl Texts {
    /// Remembers a hit; false when it was there already.
    pub(super) fn insert(&mut self, hit: &Hit, readers: &[String]) -> bool {
        let value = (readers.to_vec(), hit.clone());
        self.0.insert(hit.passage_id.clone(), value).is_none()
    }

    /// A hit by its passage id, if the mask lets it be seen.
    pub fn passage(&self, id: &str, mask: &Mask) -> Option<Hit> {
        let (readers, hit) = self.0.get(id)?;
        mask.lets_see(readers).then(|| hit.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readers_read() {
        let hit = Hit {
            passage_id: "s.1.abcd.0-4".into(),
            document_id: "s.1".into(),
            title: String::new(),
            uri: String::new(),
            content_hash: String::new(),
            heading_path: Vec::new(),
            pages: Vec::new(),
            parent: None,
            text: "text".into(),
            start: 0,
            end: 4,
            score: 0.0,
            lexical_rank: None,
            vector_rank: None,
        };
        let mut texts = Texts::default();
        assert!(texts.insert(&hit, &["user:ada".into()]));
        assert!(!texts.insert(&hit, &["user:ada".into()]));
        let mask = |name: &str| Mask::Principals(vec![name.to_owned()]);
        assert_eq!(texts.passage("s.1.abcd.0-4", &mask("user:ada")), Some(hit));
        assert_eq!(texts.passage("s.1.abcd.0-4", &mask("user:bob")), None);
        assert_eq!(texts.passage("s.1.abcd.0-5", &mask("user:ada")), None);
    }
}

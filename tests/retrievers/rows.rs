//! Rows that are more than a question with an expected set of names.

use std::collections::BTreeSet;

use knowledge::retriever::{Chosen, Retriever as _, Tidying, Wanted};
use retrieval::chunk::{FixedSize, fixed_size};
use retrieval::{Filter, Hit, Mask, Mode};

use super::place::Place;
use super::table::Table;

const QUESTION: &str = "Which lighthouse burns oil?";

/// A question of a row.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub principals: &'a [&'a str],
    pub filter: Option<&'a Filter>,
    pub mode: Mode,
    pub limit: usize,
    pub skip: usize,
    pub tidying: Tidying,
}

impl<'a> Asked<'a> {
    /// For everything that these principals may read.
    pub fn all(principals: &'a [&'a str]) -> Self {
        Self {
            principals,
            filter: None,
            mode: Mode::Hybrid,
            limit: 50,
            skip: 0,
            tidying: Tidying::default(),
        }
    }

    pub fn wanted<'b>(&self, text: &'b str, vector: &'b [f32], mask: &'b Mask) -> Wanted<'b>
    where
        'a: 'b,
    {
        Wanted {
            text,
            vector: Some(vector),
            mode: self.mode,
            filter: self.filter,
            mask,
            limit: self.limit,
            skip: self.skip,
            tidying: self.tidying,
        }
    }
}

async fn hits(place: &Place, retriever: &Chosen, asked: &Asked<'_>) -> (Vec<Hit>, bool) {
    let principals = asked.principals.iter().map(|name| (*name).to_owned());
    let mask = Mask::Principals(principals.collect());
    let vector = place.vector(QUESTION).await;
    let wanted = asked.wanted(QUESTION, &vector, &mask);
    let reply = retriever.retrieve(&wanted).await.unwrap();
    for hit in &reply.hits {
        place.check_place(hit).await;
    }
    (reply.hits, reply.more)
}

/// The documents that are found, by name, sorted: by words and meaning, and by meaning alone, for in a fused ranking the
/// one leg would cover for the other. Where the two differ, what meaning alone found is told as that.
pub async fn found(place: &Place, retriever: &Chosen, asked: &Asked<'_>) -> Vec<String> {
    let fused = names(place, retriever, asked).await;
    let by_meaning = Asked {
        mode: Mode::Vector,
        ..*asked
    };
    let mut meant = names(place, retriever, &by_meaning).await;
    if meant != fused {
        meant.insert(0, "by meaning alone:".to_owned());
        return meant;
    }
    fused
}

async fn names(place: &Place, retriever: &Chosen, asked: &Asked<'_>) -> Vec<String> {
    let (hits, _) = hits(place, retriever, asked).await;
    let mut names: Vec<String> = hits.iter().map(|hit| hit.title.clone()).collect();
    names.sort();
    names
}

fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.passage_id.clone()).collect()
}

pub async fn pages(place: &Place, retriever: &Chosen, number: usize, table: &mut Table) {
    let everyone = ["everyone"];
    let (whole, more) = hits(place, retriever, &Asked::all(&everyone)).await;
    let whole = ids(&whole);
    table.note(
        "paging: one page holds all",
        number,
        &["5", "false"],
        &[whole.len().to_string(), more.to_string()],
    );
    let (mut paged, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let asked = Asked {
            limit: 2,
            skip: paged.len(),
            ..Asked::all(&everyone)
        };
        let (page, more) = hits(place, retriever, &asked).await;
        sizes.push(page.len().to_string());
        paged.extend(ids(&page));
        if !more || sizes.len() > 9 {
            break;
        }
    }
    table.note("paging: pages of two", number, &["2", "2", "1"], &sizes);
    let distinct: BTreeSet<&String> = paged.iter().collect();
    table.note(
        "paging: no hit twice",
        number,
        &["5"],
        &[distinct.len().to_string()],
    );
    table.note("paging: pages are the whole, cut", number, &whole, &paged);
    let asked = Asked {
        skip: 40,
        ..Asked::all(&everyone)
    };
    let (page, more) = hits(place, retriever, &asked).await;
    table.note(
        "paging: beyond the end",
        number,
        &["0", "false"],
        &[page.len().to_string(), more.to_string()],
    );
}

pub async fn limits(place: &Place, retriever: &Chosen, number: usize, table: &mut Table) {
    let everyone = ["everyone"];
    for (limit, expected) in [
        (1, ["1", "true"]),
        (5, ["5", "false"]),
        (100, ["5", "false"]),
    ] {
        let asked = Asked {
            limit,
            ..Asked::all(&everyone)
        };
        let (page, more) = hits(place, retriever, &asked).await;
        let seen = [page.len().to_string(), more.to_string()];
        table.note(&format!("limit: {limit}"), number, &expected, &seen);
    }
}

/// Asked twice, the order is the same; and equal scores stand by passage id where the order is ours.
pub async fn ties(place: &Place, retriever: &Chosen, number: usize, table: &mut Table) {
    let everyone = ["everyone"];
    let (first, _) = hits(place, retriever, &Asked::all(&everyone)).await;
    let (second, _) = hits(place, retriever, &Asked::all(&everyone)).await;
    table.note(
        "ties: the same order twice",
        number,
        &ids(&first),
        &ids(&second),
    );
    let ordered = first.windows(2).all(|pair| {
        pair[0].score > pair[1].score
            || (pair[0].score == pair[1].score
                && (matches!(retriever, Chosen::KnowledgeBase(_))
                    || pair[0].passage_id < pair[1].passage_id))
    });
    table.note(
        "ties: best first, equals by id",
        number,
        &["true"],
        &[ordered.to_string()],
    );
}

/// Who reads the documents of [`tidying`].
pub const TIDY: &str = "group:tidy";

/// A document of several passages, no two of which say the same.
pub fn long_text() -> String {
    let sentence = |number| {
        let other = number * 7 + 1;
        format!("Lighthouse number {number} burns oil of kind {other}. ")
    };
    (0..150).map(sentence).collect()
}

/// Two documents that say the same but for a comma.
pub const COPIES: [(&str, &str); 2] = [
    (
        "copy-a.txt",
        "Every evening the keeper climbs the stairs of the lighthouse and fills its lamp with oil.",
    ),
    (
        "copy-b.txt",
        "Every evening, the keeper climbs the stairs of the lighthouse and fills its lamp with oil.",
    ),
];

/// Near duplicates and neighbours, as they are and tidied.
pub async fn tidying(place: &Place, retriever: &Chosen, number: usize, table: &mut Table) {
    let long = long_text();
    let passages = fixed_size(&long, &[], &FixedSize::default());
    assert!(passages.len() > 2, "{} passages", passages.len());
    let cut: Vec<String> = passages
        .iter()
        .map(|passage| format!("long {}-{}", passage.start, passage.end))
        .collect();
    let whole = vec![format!("long 0-{}", long.trim_end().len())];
    for (says, drop_near_duplicates, merge_neighbours, copies, parts) in [
        ("nothing", false, false, 2, &cut),
        ("near duplicates go", true, false, 1, &cut),
        ("neighbours are one", false, true, 2, &whole),
        ("both", true, true, 1, &whole),
    ] {
        let asked = Asked {
            tidying: Tidying {
                drop_near_duplicates,
                merge_neighbours,
            },
            ..Asked::all(&[TIDY])
        };
        let (found, more) = hits(place, retriever, &asked).await;
        let mut shown: Vec<String> = found.iter().map(shown).collect();
        shown.sort();
        let mut expected = vec!["copy".to_owned(); copies];
        let mut parts = parts.clone();
        parts.sort();
        expected.extend(parts);
        table.note(&format!("tidying: {says}"), number, &expected, &shown);
        let asked = Asked {
            limit: 1,
            skip: found.len() - 1,
            ..asked
        };
        let (last, after) = hits(place, retriever, &asked).await;
        assert!(!more && !after);
        table.note(
            &format!("tidying: {says}, pages are the whole, cut"),
            number,
            &ids(&found[found.len() - 1..]),
            &ids(&last),
        );
    }
}

fn shown(hit: &Hit) -> String {
    match hit.title.starts_with("copy") {
        true => "copy".to_owned(),
        false => format!("long {}-{}", hit.start, hit.end),
    }
}

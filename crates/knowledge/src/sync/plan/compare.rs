//! The comparison of what is published with what the source holds, a page of rows at a time. What it keeps of a document is
//! small: the rows themselves are read again when they are changed.

use std::collections::{BTreeMap, BTreeSet};

use aws::RetrieverSetting;
use retrieval::chunk::Chunking;

use super::super::changes::{Change, Told};
use super::super::knowledge_base::books::is_sync_failure;
use super::super::moving::{self, Renamed};
use super::super::rows::{
    BatchDocument, DocumentRow, DocumentStatus, PlannedDocument, PublishedVersion,
};
use super::source::{SourceObject, Sources};
use crate::sources;

/// What a run is compared for.
pub(super) struct Wanted {
    /// Whether unchanged documents are done again too.
    pub all: bool,
    /// The setting that vectors must stand in the table for, if any must.
    pub vectors: Option<RetrieverSetting>,
    /// Deletions that were decided on before and count as no loss.
    pub settled_deletions: BTreeSet<String>,
    /// How documents are to be cut.
    pub chunking: Chunking,
}

/// A document that is to be brought in.
#[derive(Debug)]
pub(in crate::sync) struct Work {
    pub planned: PlannedDocument,
    /// Size of the source object.
    pub bytes: u64,
    pub change: Change,
    pub renamed_from: Option<String>,
}

/// A document that the source does not hold any more.
#[derive(Debug)]
pub(super) struct Gone {
    pub document_id: String,
    name: String,
    /// The version that answers now.
    live: Option<PublishedVersion>,
    /// The run that had it last.
    run_id: Option<String>,
    /// Whether it comes again under another name.
    renamed: bool,
}

impl Gone {
    /// The row once the document is the run's to take out: as it was, for until then it answers. `None` where another run has
    /// taken it over since the comparison: it may have come again.
    pub(super) fn taken_by(&self, run_id: &str, row: DocumentRow) -> Option<DocumentRow> {
        (row.run_id == self.run_id).then(|| DocumentRow {
            run_id: Some(run_id.to_owned()),
            leaves: true,
            ..row
        })
    }
}

#[derive(Debug, Default)]
pub(in crate::sync) struct Difference {
    /// By document id.
    pub(in crate::sync) work: Vec<Work>,
    /// By document id.
    pub(super) gone: Vec<Gone>,
    /// Of the work, what is one of the gone under another name.
    pub(super) renamed: Vec<Renamed>,
    pub(super) unchanged: u64,
    /// Unchanged documents whose source could not give them the last time, and gives them again as they were.
    pub(super) given_again: Vec<String>,
    /// What sources could not give now, and why.
    pub(super) not_given: Vec<BatchDocument>,
    /// Those of them that stand in the table as published.
    pub(super) not_given_live: BTreeSet<String>,
    /// Documents that answer before the run, and how many of them are gone from the source under any name.
    pub(super) live: usize,
    pub(super) lost: usize,
}

impl Difference {
    /// What the run would change, in no order.
    pub(super) fn told(&self) -> Vec<Told<'_>> {
        let work = self.work.iter().map(|one| Told {
            change: one.change,
            document_id: &one.planned.document_id,
            name: &one.planned.name,
            renamed_from: one.renamed_from.as_deref(),
        });
        let gone = self.gone.iter().filter(|one| !one.renamed);
        let gone = gone.map(|one| Told {
            change: Change::Deleted,
            document_id: &one.document_id,
            name: &one.name,
            renamed_from: None,
        });
        work.chain(gone).collect()
    }
}

/// A comparison under way.
pub(super) struct Comparison {
    wanted: Wanted,
    sources: Sources,
    /// What sources could not give, until the row says whether that stands in the way.
    not_given: BTreeMap<String, BatchDocument>,
    found: Difference,
}

impl Comparison {
    /// Compares with what the source holds now; `not_given` is what sources could not give.
    pub(super) fn begin(wanted: Wanted, sources: Sources, not_given: Vec<BatchDocument>) -> Self {
        let not_given = not_given.into_iter();
        Self {
            wanted,
            sources,
            not_given: not_given
                .map(|one| (one.document_id.clone(), one))
                .collect(),
            found: Difference::default(),
        }
    }

    /// Sorts a document into new or changed, unchanged, and gone. With `all` none counts as unchanged.
    pub(super) fn add(&mut self, row: DocumentRow) {
        if self.is_set_aside(&row) {
            return;
        }
        let found = &mut self.found;
        found.live += usize::from(row.published.is_some());
        match self.sources.remove(&row.document_id) {
            Some(source) if is_unchanged(&row, &source.version(), &self.wanted) => {
                found.unchanged += 1;
                if row.status == DocumentStatus::Failed {
                    found.given_again.push(row.document_id);
                }
            }
            Some(source) => {
                let change = match &row.published {
                    Some(live) if is_cut_otherwise(live, &source.version(), &self.wanted) => {
                        Change::Rechunked
                    }
                    Some(_) => Change::Changed,
                    None => Change::New,
                };
                let work = work(row.document_id, row.name, &source, change, &self.wanted);
                found.work.push(work);
            }
            None if row.status == DocumentStatus::Deleted => {}
            None => {
                let decided = self.wanted.settled_deletions.contains(&row.document_id);
                found.lost += usize::from(row.published.is_some() && !decided);
                found.gone.push(Gone {
                    document_id: row.document_id,
                    name: row.name,
                    live: row.published,
                    run_id: row.run_id,
                    renamed: false,
                });
            }
        }
    }

    /// Whether its source could not give the document, so that it stays as it is. One whose copy is not published as it is
    /// goes its way all the same, and is no failure of this run: its readers may have changed, or a run that was stopped
    /// left it behind.
    fn is_set_aside(&mut self, row: &DocumentRow) -> bool {
        let Some(one) = self.not_given.remove(&row.document_id) else {
            return false;
        };
        let live = row.published.as_ref();
        let copy = self.sources.get(&row.document_id);
        let copy = copy.map(SourceObject::version);
        let stays = copy.is_none_or(|copy| live.is_some_and(|live| live.source_version == copy));
        if stays {
            self.sources.remove(&row.document_id);
            if live.is_some() {
                let live = &mut self.found.not_given_live;
                live.insert(row.document_id.clone());
            }
            self.found.not_given.push(one);
        }
        stays
    }

    /// The difference, once all rows were added. What the source holds and no row names is new.
    pub(super) fn finish(self) -> Difference {
        let (wanted, mut found, sources) = (self.wanted, self.found, self.sources);
        // Without a row there is nothing to stay; what has no copy either is not there at all.
        let not_given = self.not_given.into_values();
        found
            .not_given
            .extend(not_given.filter(|one| !sources.contains_key(&one.document_id)));
        let new = sources.into_iter().map(|(id, mut source)| {
            let name = std::mem::take(&mut source.name);
            work(id, name, &source, Change::New, &wanted)
        });
        found.work.extend(new);
        let by_id = |left: &Work, right: &Work| {
            let (left, right) = (&left.planned, &right.planned);
            left.document_id.cmp(&right.document_id)
        };
        found.work.sort_unstable_by(by_id);
        found
            .gone
            .sort_unstable_by(|left, right| left.document_id.cmp(&right.document_id));
        found
            .not_given
            .sort_unstable_by(|left, right| left.document_id.cmp(&right.document_id));
        find_renamed(&mut found);
        found
    }
}

fn work(
    document_id: String,
    name: String,
    source: &SourceObject,
    change: Change,
    wanted: &Wanted,
) -> Work {
    Work {
        planned: PlannedDocument {
            document_id,
            name,
            source_version: source.version(),
            chunking: wanted.chunking.clone(),
        },
        bytes: source.bytes,
        change,
        renamed_from: None,
    }
}

/// A new document with the very bytes of one that is gone is that one under another name.
fn find_renamed(difference: &mut Difference) {
    let Difference {
        work,
        gone,
        renamed,
        lost,
        ..
    } = difference;
    if gone.is_empty() {
        return;
    }
    // Of the same bytes there may be several.
    let mut new: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, one) in work.iter().enumerate() {
        if one.change == Change::New {
            let version = one.planned.source_version.clone();
            new.entry(version).or_default().push(at);
        }
    }
    for one in gone {
        let Some(live) = &one.live else { continue };
        let same = new.get_mut(&live.source_version).and_then(Vec::pop);
        let Some(to) = same.and_then(|at| work.get_mut(at)) else {
            continue;
        };
        one.renamed = true;
        to.change = Change::Renamed;
        to.renamed_from = Some(one.name.clone());
        // It answers under its new name as soon as it does not under the old one.
        *lost = lost.saturating_sub(1);
        // Its passages are of no use where they are to be cut otherwise.
        if live.chunking == to.planned.chunking {
            renamed.push(Renamed {
                from: one.document_id.clone(),
                title: moving::new_title(&live.title, &one.name, &to.planned.name),
                from_name: one.name.clone(),
                to: to.planned.clone(),
            });
        }
    }
}

/// Whether only the space's chunking has changed.
fn is_cut_otherwise(live: &PublishedVersion, version: &str, wanted: &Wanted) -> bool {
    live.source_version == version && live.chunking != wanted.chunking
}

/// A document whose vectors are wanted in the table, and are not there, is done again; so is one that was cut otherwise.
fn is_unchanged(row: &DocumentRow, version: &str, wanted: &Wanted) -> bool {
    // Nothing of the document itself failed: it was not fetched, or did not reach a knowledge base.
    let beside = |error: &str| sources::is_fetch_error(error) || is_sync_failure(error);
    let unfailed = row.status == DocumentStatus::Failed && row.error.as_deref().is_some_and(beside);
    let as_wanted = |live: &PublishedVersion| {
        let has_vectors = wanted.vectors.is_none() || live.vectors == wanted.vectors;
        live.source_version == version && live.chunking == wanted.chunking && has_vectors
    };
    !wanted.all
        && (row.status == DocumentStatus::Published || unfailed)
        && row.published.as_ref().is_some_and(as_wanted)
}

#[cfg(test)]
mod tests;

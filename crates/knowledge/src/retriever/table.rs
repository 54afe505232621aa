//! The table's vector index: nearest vectors from DynamoDB, words from the segments, fused by rank.
//!
//! The index compares who may read, and equality of the space's filter keys, before it ranks. The rest of the filter is
//! applied to what comes back. It gives 100 matches and no more, so a filter that few of them pass may leave a page
//! short; the reply says so.

mod branches;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws::dynamo::{MATCHES, VectorMatch, VectorSearch};
use aws::{Aws, AwsError, RetrieverSetting};
use futures_util::{StreamExt, TryStreamExt, stream};
use retrieval::{DocumentRecord, Hit, Mask, Mode, Query, RECIPROCAL_RANK_K, passage_id};

use super::{Bound, Retrieved, Retriever, Wanted};
use crate::KnowledgeError;
use crate::snapshot::Snapshot;
use crate::sync::embedder_identity;
use crate::vectors;
use branches::{Branch, branches};

/// Results of each ranking that go into the fusion, at the least.
const FUSED_AT_LEAST: usize = 100;
/// Searches in flight: one for each principal and branch of the filter.
const SEARCHES_IN_FLIGHT: usize = 8;

/// Searches the vector index of the table.
pub struct VectorTable {
    pub aws: Aws,
    pub space: String,
    pub filter_keys: Vec<String>,
    /// What lives; `None` while nothing was published.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// The two rankings of a passage, from 1.
type Ranks = [Option<u32>; 2];

/// A ranking: passage ids, best first, with their scores.
type Ranking = Vec<(String, f32)>;

impl Retriever for VectorTable {
    async fn retrieve(&self, wanted: &Wanted<'_>) -> Result<Retrieved, KnowledgeError> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(Retrieved::default());
        };
        // The index names passages that no search of the segments asked for.
        snapshot.whole().await?;
        let need = wanted.skip.saturating_add(wanted.limit).saturating_add(1);
        let depth = match wanted.mode {
            Mode::Hybrid => need.max(FUSED_AT_LEAST),
            _ => need,
        };
        let lexical = match wanted.mode {
            Mode::Vector => Ranking::new(),
            _ => self.words(snapshot, wanted, depth)?,
        };
        let (vector, bound) = match wanted.vector.filter(|_| wanted.mode != Mode::Lexical) {
            Some(vector) => self.nearest(snapshot, wanted, vector, depth).await?,
            None => (Ranking::new(), None),
        };
        let ranking = match wanted.mode {
            Mode::Hybrid => fuse(&lexical, &vector),
            Mode::Lexical => ranked(lexical, 0),
            Mode::Vector => ranked(vector, 1),
        };
        // The last check before a passage leaves: alive, and readable under the mask.
        let hits = ranking
            .into_iter()
            .take(need)
            .filter_map(|(id, score, ranks)| {
                let hit = snapshot.index.passage(&id, wanted.mask)?;
                let [lexical_rank, vector_rank] = ranks;
                Some(Hit {
                    score,
                    lexical_rank,
                    vector_rank,
                    ..hit
                })
            });
        let mut page = Retrieved::page(hits.collect(), wanted);
        page.bound = bound.filter(|_| !page.more);
        Ok(page)
    }
}

impl VectorTable {
    fn words(
        &self,
        snapshot: &Snapshot,
        wanted: &Wanted<'_>,
        depth: usize,
    ) -> Result<Ranking, KnowledgeError> {
        let query = Query {
            text: Some(wanted.text),
            vector: None,
            mode: Mode::Lexical,
            limit: depth,
            filter: wanted.filter,
            mask: wanted.mask,
        };
        let found =
            snapshot
                .index
                .search(&query)
                .map_err(|error| KnowledgeError::IndexUnreadable {
                    space: self.space.clone(),
                    detail: format!("{}: {error}", error.name()),
                })?;
        Ok(found
            .into_iter()
            .map(|hit| (hit.passage_id, hit.score))
            .collect())
    }

    /// The nearest passages that count; asks for more while the filter leaves too few.
    async fn nearest(
        &self,
        snapshot: &Snapshot,
        wanted: &Wanted<'_>,
        vector: &[f32],
        depth: usize,
    ) -> Result<(Ranking, Option<Bound>), KnowledgeError> {
        let Mask::Principals(principals) = wanted.mask else {
            let detail = "a vector index is searched for principals only".to_owned();
            return Err(KnowledgeError::InvalidRequest { detail });
        };
        let parts = branches(wanted.filter, &self.filter_keys);
        let mut limit = depth.min(MATCHES);
        loop {
            let (found, full) = self.matches(principals, &parts, vector, limit).await?;
            let candidates = found.len();
            let mut ranking = self.living(snapshot, wanted, found);
            if !full || ranking.len() >= depth || limit == MATCHES {
                let short = full && ranking.len() < depth;
                let bound = short.then_some(Bound {
                    candidates,
                    limit: MATCHES,
                });
                ranking.truncate(depth);
                return Ok((ranking, bound));
            }
            limit = (limit * 4).min(MATCHES);
        }
    }

    /// What the searches of all principals and branches give, and whether one of them had more to give.
    async fn matches(
        &self,
        principals: &[String],
        parts: &[Branch],
        vector: &[f32],
        limit: usize,
    ) -> Result<(Vec<VectorMatch>, bool), KnowledgeError> {
        let mut searches = Vec::new();
        for reader in principals {
            for part in parts {
                searches.push(VectorSearch {
                    space: &self.space,
                    reader,
                    vector,
                    filters: part.clone(),
                    limit,
                });
            }
        }
        let calls: Vec<_> = searches
            .iter()
            .map(|search| self.aws.table.search_vectors(search))
            .collect();
        let found: Vec<Vec<VectorMatch>> = stream::iter(calls)
            .buffer_unordered(SEARCHES_IN_FLIGHT)
            .try_collect()
            .await
            .map_err(|error| self.unusable(error))?;
        let full = found.iter().any(|matches| matches.len() >= limit);
        Ok((found.into_iter().flatten().collect(), full))
    }

    fn unusable(&self, error: AwsError) -> KnowledgeError {
        match error {
            AwsError::Refused { detail, .. } => KnowledgeError::RetrieverUnusable {
                space: self.space.clone(),
                retriever: self.setting().to_string(),
                detail,
                advice: "deploy with the parameter VectorIndex=true and the space's dimension",
            },
            other => other.into(),
        }
    }

    fn setting(&self) -> RetrieverSetting {
        RetrieverSetting::Dynamodb {
            filter_keys: self.filter_keys.clone(),
        }
    }

    /// The matches that are of living documents at their living version, readable and passing, each passage once; best
    /// first, equal ones in the order of their ids.
    fn living(&self, snapshot: &Snapshot, wanted: &Wanted<'_>, found: Vec<VectorMatch>) -> Ranking {
        let mut documents: HashMap<String, Option<(DocumentRecord, String)>> = HashMap::new();
        let mut seen = HashSet::new();
        let mut ranking = Ranking::new();
        for VectorMatch { name, similarity } in found {
            let known = documents
                .entry(name.document_id.clone())
                .or_insert_with(|| self.passing(snapshot, wanted, &name.document_id));
            let Some((record, version)) = known else {
                continue;
            };
            let passages = record.passage_range.end - record.passage_range.start;
            if *version != name.version || name.ordinal >= passages {
                continue;
            }
            let id = passage_id(&record.document_id, &record.content_hash, name.ordinal);
            if seen.insert(id.clone()) {
                ranking.push((id, similarity));
            }
        }
        ranking.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        ranking
    }

    /// The record of a living document that the mask and the whole filter let through, with its version.
    fn passing(
        &self,
        snapshot: &Snapshot,
        wanted: &Wanted<'_>,
        document_id: &str,
    ) -> Option<(DocumentRecord, String)> {
        let record = snapshot.index.document(document_id)?;
        let passes = wanted
            .filter
            .is_none_or(|filter| filter.passes(&record.metadata));
        if !passes || !wanted.mask.lets_see(&record.readers) {
            return None;
        }
        let version = vectors::version(
            &embedder_identity(&snapshot.embedder, snapshot.dimension),
            &record.content_hash,
            &record.readers,
            &record.metadata,
            &self.filter_keys,
            record.passage_range.len(),
        );
        Some((record, version))
    }
}

fn ranked(ranking: Ranking, which: usize) -> Vec<(String, f32, Ranks)> {
    let with_rank = |(number, (id, score)): (usize, (String, f32))| {
        let mut ranks: Ranks = [None; 2];
        ranks[which] = Some(number as u32 + 1);
        (id, score, ranks)
    };
    ranking.into_iter().enumerate().map(with_rank).collect()
}

/// Reciprocal rank fusion, as the embedded index does it; equal scores in the order of passage ids.
fn fuse(lexical: &Ranking, vector: &Ranking) -> Vec<(String, f32, Ranks)> {
    let mut fused: BTreeMap<&str, (f32, Ranks)> = BTreeMap::new();
    for (which, ranking) in [lexical, vector].into_iter().enumerate() {
        for (number, (id, _)) in ranking.iter().enumerate() {
            let rank = number as u32 + 1;
            let entry = fused.entry(id).or_default();
            entry.0 += 1.0 / (RECIPROCAL_RANK_K + rank as f32);
            entry.1[which] = Some(rank);
        }
    }
    let mut fused: Vec<_> = fused
        .into_iter()
        .map(|(id, (score, ranks))| (id.to_owned(), score, ranks))
        .collect();
    // Stable: what is equal stays in the order of the ids.
    fused.sort_by(|left, right| right.1.total_cmp(&left.1));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rankings_count_and_ties_stand_by_id() {
        let ranking = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), 0.5)).collect();
        let fused = fuse(&ranking(&["b", "c"]), &ranking(&["c", "d", "a"]));
        let ids: Vec<&str> = fused.iter().map(|(id, _, _)| id.as_str()).collect();
        assert_eq!(ids, ["c", "b", "d", "a"]);
        assert_eq!(fused[0].2, [Some(2), Some(1)]);
        assert!((fused[0].1 - (1.0 / 62.0 + 1.0 / 61.0)).abs() < 1e-7);
        let tied = fuse(&ranking(&["b"]), &ranking(&["a"]));
        assert_eq!(tied[0].0, "a");
    }
}

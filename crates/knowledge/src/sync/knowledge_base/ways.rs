//! How changes reach a knowledge base: few of them are sent, many are left to an ingestion job.

use std::collections::BTreeMap;

use aws::bedrock::{
    DOCUMENTS_PER_CALL, DocumentState, IngestionCounters, IngestionProgress, IngestionState, Start,
    takes_directly,
};
use aws::{Aws, AwsError, clock};

use super::super::StepError;
use super::super::rows::RunRow;
use super::books::Outcome;
use super::difference::Difference;
use super::progress::{Phase, Sync, Way};
use super::{OTHERS_SECONDS, QUOTA_SECONDS, Turn, note, progress};
use crate::digest::short_id;
use crate::knowledge_base::{self, Filled};
use crate::names;
use crate::pace::{self, Filling};

/// Changes that are sent directly; more of them are a job's. Twenty calls, of which an account may make five a second.
const DIRECT_CHANGES: usize = 100;
/// Hex digits of a token. Bedrock wants 33 to 256 characters.
const TOKEN_DIGITS: usize = 40;
/// The shortest and the longest pause before the step looks again, in seconds; it grows with the time that was waited.
const SHORTEST_SECONDS: u64 = 2;
const LONGEST_SECONDS: u64 = 60;
/// Failure reasons of a job that the run's row keeps, and characters of each.
const REASONS: usize = 20;
const REASON_CHARACTERS: usize = 500;

/// The failures of documents, as they stand in the run's report.
const DOCUMENT_FAILED: &str = "KnowledgeBaseDocumentFailed";
const DELETION_FAILED: &str = "KnowledgeBaseDeletionFailed";
/// The failures of a job.
const JOB_FAILED: &str = "KnowledgeBaseJobFailed";
const JOB_STOPPED: &str = "KnowledgeBaseJobStopped";
const JOB_INCOMPLETE: &str = "KnowledgeBaseJobIncomplete";

/// Goes on with a difference whose objects are written.
pub(super) async fn go(
    aws: &Aws,
    run: RunRow,
    of: &Filled,
    difference: &Difference,
) -> Result<(RunRow, Turn), StepError> {
    let sync = progress(&run)?;
    let run = match sync.way {
        Some(_) => run,
        None => {
            let way = choose(aws, &run, of, difference).await?;
            let way = Some(way);
            note(aws, run, Sync { way, ..sync }).await?
        }
    };
    match progress(&run)?.way {
        Some(Way::Direct) => direct(aws, run, of, difference).await,
        _ => job(aws, run, of, difference).await,
    }
}

/// A knowledge base that was never filled, or that something did not reach, is left to a job: it alone compares all.
/// Source: Amazon Bedrock User Guide, "Ingest changes directly into a knowledge base".
async fn choose(
    aws: &Aws,
    run: &RunRow,
    of: &Filled,
    difference: &Difference,
) -> Result<Way, StepError> {
    let state = knowledge_base::state(aws, &run.space).await?;
    let filled = state.is_some_and(|state| state.filled);
    let longest = names::knowledge_base_key(&format!("{}.{}", run.space, "0".repeat(20)));
    let fits = takes_directly(&uri(aws, &longest));
    let small = (1..=DIRECT_CHANGES).contains(&difference.len());
    let direct = filled && !difference.behind && fits && small && !of.managed;
    Ok(if direct { Way::Direct } else { Way::Job })
}

fn uri(aws: &Aws, key: &str) -> String {
    format!("s3://{}/{key}", aws.bucket.name())
}

fn uri_of(aws: &Aws, document_id: &str) -> String {
    uri(aws, &names::knowledge_base_key(document_id))
}

/// The same call of the same run has the same token.
fn token(run_id: &str, what: &str, uris: &[String]) -> String {
    let mut parts = vec!["knowledge base", run_id, what];
    parts.extend(uris.iter().map(String::as_str));
    short_id(&parts, TOKEN_DIGITS)
}

/// How long to wait after so long a time.
fn pause(since_ms: u64) -> u64 {
    let waited = clock::now_ms().saturating_sub(since_ms) / 1000;
    (waited / 4).clamp(SHORTEST_SECONDS, LONGEST_SECONDS)
}

async fn direct(
    aws: &Aws,
    run: RunRow,
    of: &Filled,
    difference: &Difference,
) -> Result<(RunRow, Turn), StepError> {
    let coming = difference.bring_in.iter().map(|one| &one.document_id);
    let coming: Vec<String> = coming.map(|id| uri_of(aws, id)).collect();
    let going = difference.take_out.iter();
    let going: Vec<String> = going.map(|id| uri_of(aws, id)).collect();
    let sync = progress(&run)?;
    let run = match sync.phase {
        Phase::UnderWay => run,
        _ => match send(aws, &run.run_id, of, &coming, &going).await {
            Ok(true) => under_way(aws, run, sync, None).await?,
            Ok(false) => return Ok((run, Turn::Wait(QUOTA_SECONDS, None))),
            Err(AwsError::Refused { service, detail }) => {
                tracing::warn!(
                    service,
                    detail,
                    "direct ingestion was refused; a job follows"
                );
                let way = Some(Way::Job);
                let run = note(aws, run, Sync { way, ..sync }).await?;
                return Ok((run, Turn::Wait(1, None)));
            }
            Err(error) => return Err(error.into()),
        },
    };
    let sent: Vec<String> = coming.iter().chain(&going).cloned().collect();
    let Some(states) = states_of(aws, of, &sent).await? else {
        return Ok((run, Turn::Wait(QUOTA_SECONDS, None)));
    };
    if states.values().any(|state| !state.is_settled()) {
        let seconds = pause(progress(&run)?.under_way_at_ms);
        return Ok((run, Turn::Wait(seconds, None)));
    }
    let failures = failures(aws, difference, &states);
    let outcome = Outcome {
        failures,
        ..Outcome::nothing(difference.clone())
    };
    Ok((run, Turn::Ended(outcome)))
}

/// Sends what comes and takes out what goes, ten with each call. `false`: the account's quota is spoken for.
async fn send(
    aws: &Aws,
    run_id: &str,
    of: &Filled,
    coming: &[String],
    going: &[String],
) -> Result<bool, AwsError> {
    for uris in coming.chunks(DOCUMENTS_PER_CALL) {
        if !pace::take_call(aws, Filling::Documents).await? {
            return Ok(false);
        }
        let token = token(run_id, "bring in", uris);
        aws.data_sources.ingest(of.place(), &token, uris).await?;
    }
    for uris in going.chunks(DOCUMENTS_PER_CALL) {
        if !pace::take_call(aws, Filling::Documents).await? {
            return Ok(false);
        }
        let token = token(run_id, "take out", uris);
        aws.data_sources.delete(of.place(), &token, uris).await?;
    }
    Ok(true)
}

/// How documents stand, by URI; `None` where the account's quota is spoken for.
async fn states_of(
    aws: &Aws,
    of: &Filled,
    uris: &[String],
) -> Result<Option<BTreeMap<String, DocumentState>>, AwsError> {
    let mut states = BTreeMap::new();
    for uris in uris.chunks(DOCUMENTS_PER_CALL) {
        if !pace::take_call(aws, Filling::Documents).await? {
            return Ok(None);
        }
        let found = aws.data_sources.documents(of.place(), uris).await?;
        states.extend(found.into_iter().map(|state| (state.uri.clone(), state)));
    }
    Ok(Some(states))
}

/// The same of all documents of the data source.
async fn all_states(
    aws: &Aws,
    of: &Filled,
) -> Result<Option<BTreeMap<String, DocumentState>>, AwsError> {
    let (mut states, mut next) = (BTreeMap::new(), None);
    loop {
        if !pace::take_call(aws, Filling::Documents).await? {
            return Ok(None);
        }
        let (page, after) = aws.data_sources.page_of_documents(of.place(), next).await?;
        states.extend(page.into_iter().map(|state| (state.uri.clone(), state)));
        next = after;
        if next.is_none() {
            return Ok(Some(states));
        }
    }
}

/// The documents of the difference that are not as they should be: (error, reason) by document.
fn failures(
    aws: &Aws,
    difference: &Difference,
    states: &BTreeMap<String, DocumentState>,
) -> BTreeMap<String, (String, String)> {
    let state = |id: &str| states.get(&uri_of(aws, id));
    let mut failures = BTreeMap::new();
    for coming in &difference.bring_in {
        let state = state(&coming.document_id);
        if !state.is_some_and(DocumentState::is_indexed) {
            let words = words(state);
            let failure = (DOCUMENT_FAILED.to_owned(), words);
            failures.insert(coming.document_id.clone(), failure);
        }
    }
    for id in &difference.take_out {
        if let Some(state) = state(id).filter(|state| !state.is_gone()) {
            let failure = (DELETION_FAILED.to_owned(), words(Some(state)));
            failures.insert(id.clone(), failure);
        }
    }
    failures
}

fn words(state: Option<&DocumentState>) -> String {
    let Some(state) = state else {
        return "the knowledge base does not know it after its ingestion job; does its data source read the bucket?"
            .to_owned();
    };
    let status = &state.status;
    match state.reason.as_deref().filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{status}: {}", short(reason)),
        None => format!("the knowledge base says {status} of it, and gives no reason"),
    }
}

fn short(words: &str) -> String {
    words.chars().take(REASON_CHARACTERS).collect()
}

async fn under_way(
    aws: &Aws,
    run: RunRow,
    sync: Sync,
    job_id: Option<String>,
) -> Result<RunRow, AwsError> {
    let sync = Sync {
        phase: Phase::UnderWay,
        under_way_at_ms: clock::now_ms(),
        waiting_for: None,
        job_id,
        ..sync
    };
    note(aws, run, sync).await
}

async fn job(
    aws: &Aws,
    run: RunRow,
    of: &Filled,
    difference: &Difference,
) -> Result<(RunRow, Turn), StepError> {
    let sync = progress(&run)?;
    let Some(job_id) = sync.job_id.clone() else {
        return start(aws, run, of, sync).await;
    };
    let state = aws.data_sources.job(of.place(), &job_id).await?;
    if state.progress == IngestionProgress::UnderWay {
        let seconds = pause(sync.under_way_at_ms);
        return Ok((run, Turn::Wait(seconds, None)));
    }
    let Some(outcome) = ended(aws, of, difference, &state).await? else {
        return Ok((run, Turn::Wait(QUOTA_SECONDS, None)));
    };
    Ok((run, Turn::Ended(outcome)))
}

async fn start(
    aws: &Aws,
    run: RunRow,
    of: &Filled,
    sync: Sync,
) -> Result<(RunRow, Turn), StepError> {
    if !pace::take_call(aws, Filling::JobStart).await? {
        return Ok((run, Turn::Wait(QUOTA_SECONDS, None)));
    }
    let token = token(&run.run_id, "job", &[]);
    match aws.data_sources.start_job(of.place(), &token).await? {
        Start::Started(job_id) => {
            let run = under_way(aws, run, sync, Some(job_id)).await?;
            Ok((run, Turn::Wait(SHORTEST_SECONDS, None)))
        }
        Start::Throttled(detail) => {
            tracing::info!(
                detail,
                "ingestion jobs are started too fast, or too many run"
            );
            Ok((run, Turn::Wait(QUOTA_SECONDS, None)))
        }
        Start::Occupied(detail) => {
            // The other may be of another data source of the knowledge base; then only Bedrock's words name it.
            let other = match aws.data_sources.active_job(of.place()).await? {
                Some(job_id) => format!("ingestion job {job_id}"),
                None => short(&detail),
            };
            Ok((run, Turn::Wait(OTHERS_SECONDS, Some(other))))
        }
    }
}

/// What a job that has ended came to; `None` where the account's quota is spoken for.
async fn ended(
    aws: &Aws,
    of: &Filled,
    difference: &Difference,
    state: &IngestionState,
) -> Result<Option<Outcome>, StepError> {
    let reasons = state.failure_reasons.iter().take(REASONS);
    let failure_reasons: Vec<String> = reasons.map(|reason| short(reason)).collect();
    let told = Outcome {
        counters: Some(state.counters),
        failure_reasons: failure_reasons.clone(),
        ..Outcome::nothing(difference.clone())
    };
    let broken = match state.progress {
        IngestionProgress::Complete => None,
        IngestionProgress::Stopped => {
            Some((JOB_STOPPED, "somebody stopped it; sync again".to_owned()))
        }
        _ if failure_reasons.is_empty() => Some((JOB_FAILED, "it gave no reason".to_owned())),
        _ => Some((JOB_FAILED, short(&failure_reasons.join("; ")))),
    };
    if let Some((error, reason)) = broken {
        let all = Outcome::all_failed(difference.clone(), error, &reason);
        return Ok(Some(Outcome {
            counters: told.counters,
            failure_reasons,
            ..all
        }));
    }
    if !doubtful(&state.counters, difference.expected) {
        return Ok(Some(told));
    }
    // A managed knowledge base does not name its documents as we do.
    let failures = match of.managed {
        true => BTreeMap::new(),
        false => match all_states(aws, of).await? {
            Some(states) => failures(aws, difference, &states),
            None => return Ok(None),
        },
    };
    let whole = incomplete(&state.counters, difference.expected, &failures);
    Ok(Some(Outcome {
        failures,
        whole,
        ..told
    }))
}

/// Whether a job that says COMPLETE has left something out.
fn doubtful(counters: &IngestionCounters, expected: Option<u64>) -> bool {
    counters.failed + counters.skipped > 0
        || expected.is_some_and(|expected| counters.scanned < expected)
}

/// What the counters tell and no document of ours explains.
fn incomplete(
    counters: &IngestionCounters,
    expected: Option<u64>,
    failures: &BTreeMap<String, (String, String)>,
) -> Option<(String, String)> {
    let IngestionCounters {
        scanned,
        failed,
        skipped,
        ..
    } = *counters;
    let explained = failures.len() as u64;
    let all_scanned = expected.is_none_or(|expected| scanned + explained >= expected);
    if explained > 0 && failed + skipped <= explained && all_scanned {
        return None;
    }
    let expected = expected.map_or(String::new(), |expected| format!(" of {expected}"));
    let reason = format!(
        "its ingestion job says COMPLETE with {scanned}{expected} documents scanned, {failed} failed and {skipped} skipped, \
         and documents of this run explain {explained} of them; does the data source read the bucket?"
    );
    Some((JOB_INCOMPLETE.to_owned(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_is_not_believed_by_itself() {
        let check = |scanned, failed, skipped, expected: Option<u64>, doubted: bool| {
            let counters = IngestionCounters {
                scanned,
                failed,
                skipped,
                ..IngestionCounters::default()
            };
            assert_eq!(
                doubtful(&counters, expected),
                doubted,
                "{counters:?} {expected:?}"
            );
        };
        check(3, 0, 0, Some(3), false);
        check(4, 0, 0, Some(3), false);
        check(3, 1, 0, Some(3), true);
        check(3, 0, 1, Some(3), true);
        check(0, 0, 0, Some(3), true);
        check(0, 0, 0, Some(0), false);
        check(0, 0, 0, None, false);
    }

    #[test]
    fn what_a_job_left_out_is_told_unless_documents_explain_it() {
        let check = |scanned, failed, expected: Option<u64>, known: &[&str], told: bool| {
            let counters = IngestionCounters {
                scanned,
                failed,
                ..IngestionCounters::default()
            };
            let failure = (DOCUMENT_FAILED.to_owned(), String::new());
            let known = known.iter().map(|id| ((*id).to_owned(), failure.clone()));
            let found = incomplete(&counters, expected, &known.collect());
            assert_eq!(found.is_some(), told, "{counters:?} {expected:?}");
        };
        check(3, 1, Some(3), &["a"], false);
        check(3, 2, Some(3), &["a"], true);
        check(2, 0, Some(3), &["a"], false);
        check(1, 0, Some(3), &["a"], true);
        check(3, 1, Some(3), &[], true);
        check(1, 0, None, &["a"], false);
    }

    #[test]
    fn tokens_are_the_calls_own_and_fit() {
        let uris = ["s3://b/k".to_owned()];
        let one = token("default.01", "bring in", &uris);
        assert_eq!(one, token("default.01", "bring in", &uris));
        assert!((33..=256).contains(&one.len()) && one.bytes().all(|b| b.is_ascii_alphanumeric()));
        let others = [
            token("default.02", "bring in", &uris),
            token("default.01", "take out", &uris),
            token("default.01", "bring in", &[]),
        ];
        assert!(!others.contains(&one));
    }
}

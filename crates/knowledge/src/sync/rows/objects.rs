//! The objects of a run.

pub fn plan(run_id: &str) -> String {
    format!("runs/{run_id}/plan.jsonl")
}

pub fn changes(run_id: &str) -> String {
    format!("runs/{run_id}/changes.jsonl")
}

pub fn moves(run_id: &str) -> String {
    format!("runs/{run_id}/moves.json")
}

pub fn deletions(run_id: &str) -> String {
    format!("runs/{run_id}/deletions.json")
}

pub fn passages(run_id: &str, batch_id: &str) -> String {
    format!("runs/{run_id}/batches/{batch_id}.json")
}

pub fn reading(run_id: &str, batch_id: &str) -> String {
    format!("runs/{run_id}/batches/{batch_id}.reading.json")
}

pub fn screened(run_id: &str, batch_id: &str) -> String {
    format!("runs/{run_id}/batches/{batch_id}.screened.json")
}

/// What came of a batch's vectors before all of them were there.
pub fn vectors(run_id: &str, batch_id: &str) -> String {
    format!("runs/{run_id}/vectors/{batch_id}.kept")
}

/// The vectors of a document's sentences, by which it is cut.
pub fn windows(run_id: &str, document_id: &str) -> String {
    format!("runs/{run_id}/windows/{document_id}.kept")
}

/// The file name of a job's records.
pub const JOB_INPUT: &str = "records.jsonl";

pub fn job_input(run_id: &str, number: u32) -> String {
    format!("runs/{run_id}/jobs/{number:05}/{JOB_INPUT}")
}

/// The folder that a job writes a folder of its own into.
pub fn job_output(run_id: &str, number: u32) -> String {
    format!("runs/{run_id}/jobs/{number:05}/out/")
}

/// The batches that no job has embedded.
pub fn left_over(run_id: &str) -> String {
    format!("runs/{run_id}/left_over.jsonl")
}

pub fn part(run_id: &str, batch_id: &str) -> String {
    format!("runs/{run_id}/parts/{batch_id}.part")
}

pub fn knowledge_base(run_id: &str) -> String {
    format!("runs/{run_id}/knowledge-base.json")
}

pub fn published(run_id: &str) -> String {
    format!("runs/{run_id}/published.json")
}

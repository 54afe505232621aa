//! The rows that a run leaves in the table, and the objects that it passes from step to step.

mod batch;
mod document;
pub mod objects;
mod run;

pub use batch::{BatchDocument, BatchRow, Billed, PlannedDocument};
pub use document::{
    DocumentRow, DocumentStatus, Progress, PublishedVersion, Screening, ScreeningFinding,
};
pub(crate) use run::NO_STOP;
pub use run::{RunRow, RunStatus};

pub(crate) fn is_zero<N: Default + PartialEq>(count: &N) -> bool {
    *count == N::default()
}

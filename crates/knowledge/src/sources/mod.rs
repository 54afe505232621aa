//! Sources outside of the bucket: a run over a whole space asks them first, and keeps a copy of what they hold below
//! `sources/<space>/<source>/`. From there on their documents are documents like all others: compared, extracted,
//! screened and embedded by the same steps.
//!
//! A run asks in slices, one for each invocation of its plan, and remembers in between where it stands. What a source
//! could not give is told as failed and stays in the index; what is gone is deleted once the brake lets it pass.

mod api;
mod confluence;
mod fetch;
mod manage;
mod mirror;
mod polite;
mod prefix;
mod setting;
mod sharepoint;
mod state;
mod sweep;
mod website;

use std::future::Future;

use aws::AwsError;

pub(crate) use fetch::{Fetched, Outcome, advance, is_fetch_error, settle};
pub(crate) use manage::{bringing, holds, names};
pub use manage::{list, remove, set};
pub use setting::{
    ConfluenceSetting, S3Setting, SharepointSetting, SourceForm, SourcePage, SourceRun,
    SourceSetting, SourceView, WebsiteSetting,
};

use mirror::Mirror;

/// What can be asked for its documents.
trait Source: Send {
    /// Asks on from `place`, for as much as fits into a few requests, and puts what comes into the mirror.
    ///
    /// # Errors
    /// [`SourceError`] when the source as a whole cannot be asked. What is wrong with one document is the mirror's.
    fn ask(
        &mut self,
        place: &Place,
        mirror: &mut Mirror<'_>,
    ) -> impl Future<Output = Result<Next, SourceError>> + Send;
}

/// Where asking goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    /// What the source gave at the end of an earlier run, to tell changes from there on.
    cursor: Option<String>,
    /// Within this run; `None` at its beginning. Only the source knows what it means.
    position: Option<String>,
}

/// What comes after a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    /// Ask on from here, after so many seconds.
    More { position: String, wait_seconds: u64 },
    /// That was all.
    End {
        /// For the next run, where the source tells changes.
        cursor: Option<String>,
        /// Whether all was seen, so that what was not is gone.
        complete: bool,
    },
}

impl Next {
    fn more(position: String) -> Self {
        Self::later(position, 0)
    }

    fn later(position: String, wait_seconds: u64) -> Self {
        Self::More {
            position,
            wait_seconds,
        }
    }
}

/// Why a source cannot be asked.
#[derive(Debug, Clone)]
enum SourceError {
    /// It wants to be left alone for so many seconds; the same question then goes on.
    Busy { seconds: u64 },
    /// It does not know the cursor or position any more.
    CursorExpired,
    /// It cannot be asked at all: a name and what to do.
    Failed {
        error: &'static str,
        reason: String,
        /// Whether the same question may be answered a moment later.
        may_pass: bool,
    },
    /// Our own services.
    Aws(AwsError),
}

impl From<AwsError> for SourceError {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

fn failed(error: &'static str, reason: impl Into<String>) -> SourceError {
    SourceError::Failed {
        error,
        reason: reason.into(),
        may_pass: false,
    }
}

fn passing(error: &'static str, reason: impl Into<String>) -> SourceError {
    SourceError::Failed {
        error,
        reason: reason.into(),
        may_pass: true,
    }
}

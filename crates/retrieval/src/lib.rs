//! Retrieval inside the process: passages, the segment file, hybrid search over what the caller may read.
//!
//! Pure: no async, no clock, no environment, no AWS. The byte layout of a segment is in this crate's `README.md`.

mod best;
mod bits;
pub mod chunk;
mod duplicates;
pub mod filter;
mod fusion;
mod index;
mod lexical;
pub mod measure;
mod neighbours;
pub mod part;
mod passage;
pub mod segment;
mod vector;
pub mod wordpiece;

pub use duplicates::drop_near_duplicates;
pub use filter::{Filter, FilterError};
pub use fusion::RECIPROCAL_RANK_K;
pub use index::{Hit, Index, LiveSegment, Mask, Mode, Query, SearchError};
pub use neighbours::{merge_neighbours, with_siblings};
pub use passage::{
    EmbeddedPassage, Heading, PageMark, Passage, SegmentDocument, Siblings, embedded_text,
    mark_pages, page_at, parse_passage_id, passage_id, titled_text,
};
pub use segment::{DocumentRecord, Segment, SegmentError, StoredPassage};

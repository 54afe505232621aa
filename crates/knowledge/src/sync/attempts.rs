//! What a batch was reading when its process was ended.
//!
//! A document that takes all memory, or all time, ends the process and takes its batch along, at every attempt. From the
//! second attempt on, each document is therefore noted while it is read: one that two attempts ended in is refused, and the
//! others of its batch go through.

use std::collections::BTreeMap;

use aws::{Aws, AwsError};
use serde::{Deserialize, Serialize};

use super::StepError;
use super::rows::objects;

/// Attempts that end while a document is read, after which it is not read again: one may have been ended by something else.
const MOST_ENDED: u32 = 2;

/// The note: an object beside the batch's passages.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The document that is being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reading: Option<String>,
    /// How many attempts ended while these documents were read.
    #[serde(default)]
    ended: BTreeMap<String, u32>,
}

/// The documents of a batch as they are read, one after the other.
pub(super) struct Attempts {
    key: String,
    /// None at the first attempt.
    note: Option<Note>,
}

impl Attempts {
    /// `again` where an attempt was begun before.
    ///
    /// # Errors
    /// The bucket's.
    pub(super) async fn begin(
        aws: &Aws,
        run_id: &str,
        batch_id: &str,
        again: bool,
    ) -> Result<Self, StepError> {
        let key = objects::reading(run_id, batch_id);
        if !again {
            return Ok(Self { key, note: None });
        }
        let mut note: Note = match aws.bucket.get(&key).await {
            Ok(body) => serde_json::from_slice(&body)?,
            Err(AwsError::Missing { .. }) => Note::default(),
            Err(error) => return Err(error.into()),
        };
        if let Some(document) = note.reading.take() {
            *note.ended.entry(document).or_default() += 1;
        }
        let note = Some(note);
        Ok(Self { key, note })
    }

    /// Whether a document may be read now.
    ///
    /// # Errors
    /// The bucket's.
    pub(super) async fn enter(&mut self, aws: &Aws, document_id: &str) -> Result<bool, StepError> {
        let Some(note) = &mut self.note else {
            return Ok(true);
        };
        if note.ended.get(document_id).copied().unwrap_or(0) >= MOST_ENDED {
            return Ok(false);
        }
        note.reading = Some(document_id.to_owned());
        self.write(aws).await?;
        Ok(true)
    }

    /// The document was read, or the step ends by itself.
    ///
    /// # Errors
    /// The bucket's.
    pub(super) async fn leave(&mut self, aws: &Aws) -> Result<(), StepError> {
        let noted = self.note.as_mut().and_then(|note| note.reading.take());
        match noted {
            Some(_) => self.write(aws).await,
            None => Ok(()),
        }
    }

    async fn write(&self, aws: &Aws) -> Result<(), StepError> {
        let body = serde_json::to_vec(&self.note)?;
        aws.bucket.put(&self.key, body).await?;
        Ok(())
    }
}

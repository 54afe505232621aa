//! Embeddings by InvokeModel: Titan takes one text a call, Cohere 96.

use aws_sdk_bedrockruntime::primitives::Blob;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::{Bedrock, BedrockError, classify};

/// Titan calls in flight at once; each carries one text.
const TITAN_IN_FLIGHT: usize = 8;
/// Cohere calls in flight at once.
const COHERE_IN_FLIGHT: usize = 2;
/// Texts in one Cohere call. Source: Amazon Bedrock User Guide, Cohere Embed.
const COHERE_TEXTS: usize = 96;

/// What the texts are: some models embed questions and documents differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedPurpose {
    Query,
    Document,
}

/// A model's reply as it stands: its vectors, and the tokens that were billed where it tells them.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedReply {
    pub vectors: Vec<Vec<f32>>,
    pub tokens: Option<u64>,
}

/// One vector for each text, in order, and the tokens that were billed.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    pub vectors: Vec<Vec<f32>>,
    pub tokens: u64,
}

impl Bedrock {
    /// Embeds texts with the model of the settings.
    ///
    /// # Errors
    /// Any [`BedrockError`]; [`BedrockError::Refused`] when a vector has another dimension than the settings say.
    pub async fn embed(
        &self,
        texts: &[String],
        purpose: EmbedPurpose,
    ) -> Result<Embeddings, BedrockError> {
        let calls = self.calls(texts, purpose);
        let parts: Vec<Embeddings> = stream::iter(calls)
            .buffered(self.calls_in_flight())
            .try_collect()
            .await?;
        Ok(Embeddings {
            tokens: parts.iter().map(|part| part.tokens).sum(),
            vectors: parts.into_iter().flat_map(|part| part.vectors).collect(),
        })
    }

    /// Embeds texts call by call, whatever becomes of the other calls: for each call, in order, what came of the next
    /// [`Bedrock::texts_per_call`] texts.
    pub async fn embed_each(
        &self,
        texts: &[String],
        purpose: EmbedPurpose,
    ) -> Vec<Result<Embeddings, BedrockError>> {
        let calls = self.calls(texts, purpose);
        stream::iter(calls)
            .buffered(self.calls_in_flight())
            .collect()
            .await
    }

    /// How many texts one call to the embedding model takes.
    pub fn texts_per_call(&self) -> usize {
        match self.is_cohere() {
            true => COHERE_TEXTS,
            false => 1,
        }
    }

    fn calls_in_flight(&self) -> usize {
        match self.is_cohere() {
            true => COHERE_IN_FLIGHT,
            false => TITAN_IN_FLIGHT,
        }
    }

    fn is_cohere(&self) -> bool {
        self.embed_model.contains("cohere.")
    }

    fn calls<'a>(
        &'a self,
        texts: &'a [String],
        purpose: EmbedPurpose,
    ) -> Vec<impl Future<Output = Result<Embeddings, BedrockError>> + 'a> {
        let calls = texts.chunks(self.texts_per_call());
        calls.map(|texts| self.embed_call(texts, purpose)).collect()
    }

    async fn embed_call(
        &self,
        texts: &[String],
        purpose: EmbedPurpose,
    ) -> Result<Embeddings, BedrockError> {
        let reply = self.invoke(&self.embed_body(texts, purpose)).await?;
        self.embeddings(texts, self.read_reply(&reply)?)
    }

    /// The body of the call that embeds these texts, at most [`Bedrock::texts_per_call`]. Records of batch jobs hold it too.
    pub fn embed_body(&self, texts: &[String], purpose: EmbedPurpose) -> Value {
        if !self.is_cohere() {
            return json!({
                "inputText": texts.first(),
                "dimensions": self.embed_dimensions,
                "normalize": true,
            });
        }
        let input_type = match purpose {
            EmbedPurpose::Query => "search_query",
            EmbedPurpose::Document => "search_document",
        };
        let mut body = json!({ "texts": texts, "input_type": input_type, "truncate": "END" });
        if self.embed_model.contains("cohere.embed-v4") {
            // From version 4 on the dimension is chosen; its default of 1,536 is none of the settings'.
            body["output_dimension"] = json!(self.embed_dimensions);
            body["embedding_types"] = json!(["float"]);
        }
        body
    }

    /// Reads the model's reply to [`Bedrock::embed_body`].
    ///
    /// # Errors
    /// [`BedrockError::Refused`] for a reply without embeddings.
    pub fn read_reply(&self, reply: &Value) -> Result<EmbedReply, BedrockError> {
        if !self.is_cohere() {
            return Ok(EmbedReply {
                vectors: vec![self.vector(&reply["embedding"])?],
                tokens: Some(reply["inputTextTokenCount"].as_u64().unwrap_or_default()),
            });
        }
        // With `embedding_types` the vectors stand by type, without it plainly.
        let rows = reply["embeddings"]
            .as_array()
            .or(reply["embeddings"]["float"].as_array());
        let rows = rows.ok_or_else(|| self.refused("its reply holds no embeddings".into()))?;
        Ok(EmbedReply {
            vectors: rows
                .iter()
                .map(|row| self.vector(row))
                .collect::<Result<_, _>>()?,
            tokens: None,
        })
    }

    /// The embeddings that a reply holds of these texts.
    ///
    /// # Errors
    /// [`BedrockError::Refused`] when it has another number of vectors, or vectors of another dimension than the settings say.
    pub fn embeddings(
        &self,
        texts: &[String],
        reply: EmbedReply,
    ) -> Result<Embeddings, BedrockError> {
        let (vectors, expected) = (reply.vectors, self.embed_dimensions as usize);
        if vectors.len() != texts.len() {
            let (found, texts) = (vectors.len(), texts.len());
            return Err(self.refused(format!("{found} vectors for {texts} texts")));
        }
        if let Some(other) = vectors.iter().find(|vector| vector.len() != expected) {
            let found = other.len();
            return Err(self.refused(format!(
                "its embedding has {found} components, the settings say {expected}"
            )));
        }
        // Cohere bills tokens but does not say them; four bytes to a token is its own rule of thumb.
        let by_bytes = || texts.iter().map(|text| text.len().div_ceil(4) as u64).sum();
        Ok(Embeddings {
            tokens: reply.tokens.unwrap_or_else(by_bytes),
            vectors,
        })
    }

    async fn invoke(&self, body: &Value) -> Result<Value, BedrockError> {
        let reply = self
            .client
            .invoke_model()
            .model_id(&self.embed_model)
            .content_type("application/json")
            .accept("application/json")
            .body(Blob::new(body.to_string()))
            .send()
            .await
            .map_err(|error| classify(&self.embed_model, error))?;
        serde_json::from_slice(reply.body.as_ref())
            .map_err(|error| self.refused(format!("its reply is not JSON: {error}")))
    }

    fn vector(&self, value: &Value) -> Result<Vec<f32>, BedrockError> {
        let numbers = value.as_array().and_then(|numbers| {
            numbers
                .iter()
                .map(|number| number.as_f64().map(|value| value as f32))
                .collect()
        });
        numbers.ok_or_else(|| self.refused("its embedding is not a list of numbers".into()))
    }

    fn refused(&self, detail: String) -> BedrockError {
        BedrockError::Refused {
            model: self.embed_model.clone(),
            detail,
        }
    }
}

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
        let found = match texts {
            [text] if !self.is_cohere() => self.embed_titan(text).await?,
            texts => self.embed_cohere(texts, purpose).await?,
        };
        let expected = self.embed_dimensions as usize;
        let other = found.vectors.iter().find(|vector| vector.len() != expected);
        if let Some(other) = other {
            let detail = format!(
                "its embedding has {} components, the settings say {expected}",
                other.len()
            );
            return Err(self.refused(detail));
        }
        Ok(found)
    }

    async fn embed_titan(&self, text: &str) -> Result<Embeddings, BedrockError> {
        let body = json!({
            "inputText": text,
            "dimensions": self.embed_dimensions,
            "normalize": true,
        });
        let reply = self.invoke(&body).await?;
        let vector = self.vector(&reply["embedding"])?;
        Ok(Embeddings {
            vectors: vec![vector],
            tokens: reply["inputTextTokenCount"].as_u64().unwrap_or_default(),
        })
    }

    async fn embed_cohere(
        &self,
        texts: &[String],
        purpose: EmbedPurpose,
    ) -> Result<Embeddings, BedrockError> {
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
        let reply = self.invoke(&body).await?;
        // With `embedding_types` the vectors stand by type, without it plainly.
        let rows = reply["embeddings"]
            .as_array()
            .or(reply["embeddings"]["float"].as_array());
        let rows = rows.ok_or_else(|| self.refused("its reply holds no embeddings".into()))?;
        let vectors = rows
            .iter()
            .map(|row| self.vector(row))
            .collect::<Result<Vec<_>, _>>()?;
        if vectors.len() != texts.len() {
            return Err(self.refused(format!(
                "{} vectors for {} texts",
                vectors.len(),
                texts.len()
            )));
        }
        // Cohere bills tokens but does not say them; four bytes to a token is its own rule of thumb.
        let tokens = texts.iter().map(|text| text.len().div_ceil(4) as u64).sum();
        Ok(Embeddings { vectors, tokens })
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

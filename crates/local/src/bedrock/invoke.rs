//! InvokeModel for embedding models: Titan Text Embeddings V2 and Cohere Embed 3 and 4, in their own shapes; MiniLM in
//! Titan's.
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::models::{self, Model};
use super::wire::{WireError, read_json};
use super::words::count_tokens;
use super::{Bedrock, routes};

/// Titan's limits: 8,192 tokens and 50,000 characters.
const TITAN_MAX_TOKENS: usize = 8192;
const TITAN_MAX_CHARACTERS: usize = 50_000;
const COHERE_MAX_TEXTS: usize = 96;
const COHERE_V3_MAX_CHARACTERS: usize = 2048;

/// A checked request for embeddings.
#[derive(Debug)]
pub(super) struct EmbedRequest {
    pub(super) texts: Vec<String>,
    pub(super) dimensions: usize,
    pub(super) normalize: bool,
    /// Whether MiniLM embeds; its vectors always have length 1.
    pub(super) minilm: bool,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Titan {
        types: Vec<String>,
    },
    Cohere {
        types: Vec<String>,
        texts: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TitanBody {
    input_text: String,
    dimensions: Option<usize>,
    #[serde(default = "yes")]
    normalize: bool,
    #[serde(default)]
    embedding_types: Vec<String>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CohereBody {
    #[serde(default)]
    texts: Vec<String>,
    input_type: String,
    #[serde(default)]
    truncate: Option<String>,
    #[serde(default)]
    embedding_types: Vec<String>,
    #[serde(default)]
    output_dimension: Option<usize>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    images: Option<Value>,
    #[serde(default)]
    inputs: Option<Value>,
}

/// Reads and checks the body for `model`; a text model has no body here.
pub(super) fn read(model: Model, body: &Bytes) -> Result<EmbedRequest, WireError> {
    match model {
        Model::TitanEmbedV2 => read_titan(read_json(body)?, &[256, 512, 1024], 1024),
        Model::MiniLm => Ok(EmbedRequest {
            minilm: true,
            ..read_titan(read_json(body)?, &[minilm::DIMENSIONS], minilm::DIMENSIONS)?
        }),
        Model::CohereEmbedV3 => read_cohere(read_json(body)?, false),
        Model::CohereEmbedV4 => read_cohere(read_json(body)?, true),
        Model::Text => Err(WireError::unsupported(
            "InvokeModel with a text model's native body (use Converse)",
        )),
    }
}

/// Embeds texts as a service does that calls a model for somebody: as many calls as its model wants.
pub(super) async fn embed_texts(
    bedrock: &Bedrock,
    model_id: &str,
    dimensions: Option<usize>,
    texts: Vec<String>,
    query: bool,
) -> Result<Vec<Vec<f32>>, WireError> {
    let model = models::resolve(model_id)?;
    let purpose = if query {
        "search_query"
    } else {
        "search_document"
    };
    let (size, field) = match model {
        Model::CohereEmbedV3 => (COHERE_MAX_TEXTS, None),
        Model::CohereEmbedV4 => (COHERE_MAX_TEXTS, Some("output_dimension")),
        _ => (1, Some("dimensions")),
    };
    let mut found = Vec::with_capacity(texts.len());
    for texts in texts.chunks(size) {
        let mut body = match model {
            Model::CohereEmbedV3 | Model::CohereEmbedV4 => {
                json!({"texts": texts, "input_type": purpose, "truncate": "END"})
            }
            _ => json!({"inputText": texts.first()}),
        };
        if let Some((field, dimensions)) = field.zip(dimensions) {
            body[field] = json!(dimensions);
        }
        if model == Model::CohereEmbedV4 {
            body["truncate"] = json!("RIGHT");
        }
        let request = read(model, &Bytes::from(body.to_string()))?;
        found.extend(routes::embeddings(bedrock, &request).await?);
    }
    Ok(found)
}

fn read_titan(body: TitanBody, legal: &[usize], default: usize) -> Result<EmbedRequest, WireError> {
    let dimensions = body.dimensions.unwrap_or(default);
    if body.input_text.trim().is_empty() {
        return Err(WireError::validation(
            "Malformed input request: #/inputText: expected minLength: 1, actual: 0, please reformat your input and try again.",
        ));
    }
    if !legal.contains(&dimensions) {
        let legal: Vec<String> = legal.iter().map(usize::to_string).collect();
        return Err(WireError::validation(format!(
            "Malformed input request: #/dimensions: {dimensions} is not a valid enum value ({}), please reformat your input and try again.",
            legal.join(", ")
        )));
    }
    one_of(
        "embeddingTypes",
        &body.embedding_types,
        &["float", "binary"],
    )?;
    let (tokens, characters) = (
        count_tokens(&body.input_text),
        body.input_text.chars().count(),
    );
    if tokens > TITAN_MAX_TOKENS || characters > TITAN_MAX_CHARACTERS {
        return Err(WireError::validation(format!(
            "400 Bad Request: Too many input tokens. Max input tokens: {TITAN_MAX_TOKENS}, request input token count: {tokens}"
        )));
    }
    let shape = Shape::Titan {
        types: body.embedding_types,
    };
    Ok(EmbedRequest {
        texts: vec![body.input_text],
        dimensions,
        normalize: body.normalize,
        minilm: false,
        shape,
    })
}

fn read_cohere(body: CohereBody, v4: bool) -> Result<EmbedRequest, WireError> {
    for (present, name) in [
        (body.images.is_some(), "images"),
        (body.inputs.is_some(), "inputs"),
        (body.max_tokens.is_some(), "max_tokens"),
    ] {
        if present {
            return Err(WireError::unsupported(name));
        }
    }
    if body.texts.is_empty() || body.texts.len() > COHERE_MAX_TEXTS {
        return Err(WireError::validation(format!(
            "Malformed input request: #/texts: expected 1 to {COHERE_MAX_TEXTS} items, found {}",
            body.texts.len()
        )));
    }
    if let Some(blank) = body.texts.iter().position(|text| text.trim().is_empty()) {
        return Err(WireError::validation(format!(
            "Malformed input request: #/texts/{blank}: expected minLength: 1, actual: 0"
        )));
    }
    one_of(
        "input_type",
        std::slice::from_ref(&body.input_type),
        &[
            "search_document",
            "search_query",
            "classification",
            "clustering",
        ],
    )?;
    let truncate = body.truncate.unwrap_or_else(|| "NONE".to_owned());
    one_of(
        "truncate",
        std::slice::from_ref(&truncate),
        if v4 {
            &["NONE", "LEFT", "RIGHT"]
        } else {
            &["NONE", "START", "END"]
        },
    )?;
    one_of(
        "embedding_types",
        &body.embedding_types,
        &["float", "int8", "uint8", "binary", "ubinary"],
    )?;
    let dimensions = match (v4, body.output_dimension) {
        (false, None) => 1024,
        (false, Some(_)) => {
            return Err(WireError::validation(
                "Malformed input request: #: extraneous key [output_dimension] is not permitted",
            ));
        }
        (true, None) => 1536,
        (true, Some(d)) if [256, 512, 1024, 1536].contains(&d) => d,
        (true, Some(d)) => {
            return Err(WireError::validation(format!(
                "Malformed input request: #/output_dimension: {d} is not one of 256, 512, 1024, 1536"
            )));
        }
    };
    let texts = match v4 {
        true => body.texts.clone(),
        false => body
            .texts
            .iter()
            .map(|text| shortened(text, &truncate))
            .collect::<Result<_, _>>()?,
    };
    Ok(EmbedRequest {
        texts,
        dimensions,
        normalize: true,
        minilm: false,
        shape: Shape::Cohere {
            types: body.embedding_types,
            texts: body.texts,
        },
    })
}

fn shortened(text: &str, truncate: &str) -> Result<String, WireError> {
    let length = text.chars().count();
    let spare = length.saturating_sub(COHERE_V3_MAX_CHARACTERS);
    match truncate {
        _ if spare == 0 => Ok(text.to_owned()),
        "START" => Ok(text.chars().skip(spare).collect()),
        "END" => Ok(text.chars().take(COHERE_V3_MAX_CHARACTERS).collect()),
        _ => Err(WireError::validation(format!(
            "Malformed input request: expected maxLength: {COHERE_V3_MAX_CHARACTERS}, actual: {length}, please reformat your input and try again."
        ))),
    }
}

fn one_of(field: &str, values: &[String], legal: &[&str]) -> Result<(), WireError> {
    match values.iter().find(|value| !legal.contains(&value.as_str())) {
        Some(value) => Err(WireError::validation(format!(
            "Malformed input request: #/{field}: {value} is not a valid enum value ({})",
            legal.join(", ")
        ))),
        None => Ok(()),
    }
}

impl EmbedRequest {
    pub(super) fn tokens(&self) -> usize {
        let count: fn(&str) -> usize = match self.minilm {
            true => minilm::token_count,
            false => count_tokens,
        };
        self.texts.iter().map(|text| count(text)).sum()
    }

    /// The reply in the model's own shape; one vector for each text.
    pub(super) fn reply(&self, vectors: &[Vec<f32>]) -> Value {
        match &self.shape {
            Shape::Titan { types } => {
                self.titan_reply(types, vectors.first().map_or(&[], Vec::as_slice))
            }
            Shape::Cohere { types, texts } => cohere_reply(types, texts, vectors),
        }
    }

    fn titan_reply(&self, types: &[String], vector: &[f32]) -> Value {
        let mut by_type = json!({});
        let float = types.is_empty() || types.iter().any(|t| t == "float");
        if float {
            by_type["float"] = json!(vector);
        }
        if types.iter().any(|t| t == "binary") {
            by_type["binary"] = json!(
                vector
                    .iter()
                    .map(|v| u8::from(*v > 0.0))
                    .collect::<Vec<u8>>()
            );
        }
        let mut reply = json!({"embeddingsByType": by_type, "inputTextTokenCount": self.tokens()});
        if float {
            reply["embedding"] = json!(vector);
        }
        reply
    }
}

fn cohere_reply(types: &[String], texts: &[String], vectors: &[Vec<f32>]) -> Value {
    let digest = Sha256::digest(texts.join("\n"));
    let id: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if types.is_empty() {
        return json!({"id": id, "texts": texts, "response_type": "embeddings_floats", "embeddings": vectors});
    }
    let mut by_type = json!({});
    for kind in types {
        by_type[kind] = vectors.iter().map(|vector| encoded(kind, vector)).collect();
    }
    json!({"id": id, "texts": texts, "response_type": "embeddings_by_type", "embeddings": by_type})
}

/// A vector in one of Cohere's types. Integers: 127 steps to the largest value; bits: the sign, eight to a byte.
fn encoded(kind: &str, vector: &[f32]) -> Value {
    let largest = vector
        .iter()
        .fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
    let steps = || {
        vector
            .iter()
            .map(move |v| (v / largest * 127.0).round() as i16)
    };
    let bytes = || {
        vector.chunks(8).map(|eight| {
            eight
                .iter()
                .fold(0u8, |byte, v| (byte << 1) | u8::from(*v > 0.0))
        })
    };
    match kind {
        "int8" => json!(steps().collect::<Vec<_>>()),
        "uint8" => json!(steps().map(|v| v + 128).collect::<Vec<_>>()),
        "ubinary" => json!(bytes().collect::<Vec<_>>()),
        "binary" => json!(
            bytes()
                .map(|byte| i16::from(byte) - 128)
                .collect::<Vec<_>>()
        ),
        _ => json!(vector),
    }
}

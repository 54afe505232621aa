//! DynamoDB on the laptop: `dynoxide` on one SQLite file, behind a loopback listener of its own.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// DynamoDB forgets expired items within days; a laptop need not wait so long.
const EXPIRY_SWEEP: Duration = Duration::from_secs(60);
/// DynamoDB's largest request. Source: Amazon DynamoDB quotas, BatchWriteItem.
const REQUEST_BYTES: usize = 16 << 20;

/// Why the store cannot serve.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DynamoError(pub String);

/// The running store.
#[derive(Clone)]
pub struct Dynamo {
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Dynamo {
    /// Opens the store on `file` and serves it.
    ///
    /// # Errors
    /// A file that is no database, or cannot be written.
    pub async fn start(file: &Path) -> Result<Self, DynamoError> {
        let failed =
            |error: &dyn std::fmt::Display| DynamoError(format!("{}: {error}", file.display()));
        let opened = dynoxide::Database::new(&file.display().to_string());
        let database = opened.map_err(|error| {
            // The library guesses at encryption, which this store never has.
            tracing::debug!(%error, "the store does not open");
            failed(&"it is no database that this version can open")
        })?;
        // The only public way to `synchronous=NORMAL`: fifty times the batch writes, safe against a killed process; a
        // power cut may take the last commits. See docs/decisions/003-laptop-durability.md.
        database
            .enable_bulk_loading()
            .map_err(|error| failed(&error))?;
        database
            .disable_bulk_loading()
            .map_err(|error| failed(&error))?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(|error| failed(&error))?;
        let address = listener
            .local_addr()
            .map_err(|error| failed(&error))?
            .to_string();
        let sweeping = database.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(EXPIRY_SWEEP).await;
                if let Err(error) = sweeping.sweep_ttl() {
                    tracing::warn!(%error, "expired items could not be swept");
                }
            }
        });
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        Ok(Self {
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    /// Passes a request on as it came.
    pub async fn forward(&self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let body = match axum::body::to_bytes(body, REQUEST_BYTES).await {
            Ok(body) => body,
            Err(error) => return failure(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string()),
        };
        let Ok(uri) = format!("http://{}/", self.address).parse() else {
            return failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the store has no address",
            );
        };
        parts.uri = uri;
        parts.headers.remove("host");
        match self
            .client
            .request(Request::from_parts(parts, Full::new(body)))
            .await
        {
            Ok(reply) => reply.map(Body::new),
            Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }

    /// Makes a table where there is none, with its time to live.
    ///
    /// # Errors
    /// What the store says against it.
    pub async fn ensure_table(
        &self,
        table: &Value,
        expiry: Option<&str>,
    ) -> Result<(), DynamoError> {
        let listed = self.call("ListTables", &json!({})).await?;
        let known = listed["TableNames"]
            .as_array()
            .is_some_and(|names| names.contains(&table["TableName"]));
        if known {
            return self.ensure_vector_indexes(table).await;
        }
        self.call("CreateTable", table).await?;
        if let Some(attribute) = expiry {
            let request = json!({
                "TableName": table["TableName"],
                "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true },
            });
            self.call("UpdateTimeToLive", &request).await?;
        }
        Ok(())
    }

    /// Gives a table of an older instance the vector indexes that it lacks.
    async fn ensure_vector_indexes(&self, table: &Value) -> Result<(), DynamoError> {
        let name = &table["TableName"];
        let found = self
            .call("DescribeTable", &json!({ "TableName": name }))
            .await?;
        let there = found["Table"]["VectorIndexes"].as_array();
        let there: Vec<&Value> = there
            .into_iter()
            .flatten()
            .map(|index| &index["IndexName"])
            .collect();
        for index in table["VectorIndexes"].as_array().into_iter().flatten() {
            if !there.contains(&&index["IndexName"]) {
                let request = json!({
                    "TableName": name,
                    "AttributeDefinitions": table["AttributeDefinitions"],
                    "VectorIndexUpdates": [{ "Create": index }],
                });
                self.call("UpdateTable", &request).await?;
            }
        }
        Ok(())
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<Value, DynamoError> {
        let failed = |error: &dyn std::fmt::Display| DynamoError(format!("{operation}: {error}"));
        let request = Request::post(format!("http://{}/", self.address))
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=outcrop/20260101/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=0",
            )
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| failed(&error))?;
        let reply = self
            .client
            .request(request)
            .await
            .map_err(|error| failed(&error))?;
        let status = reply.status();
        let bytes = reply
            .into_body()
            .collect()
            .await
            .map_err(|error| failed(&error))?
            .to_bytes();
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
        if status.is_success() {
            Ok(value)
        } else {
            Err(failed(&value))
        }
    }
}

fn failure(status: StatusCode, words: &str) -> Response<Body> {
    let kind = "com.amazonaws.dynamodb.v20120810#InternalServerError";
    let body = json!({ "__type": kind, "message": words }).to_string();
    let mut reply = Response::new(Body::from(body));
    *reply.status_mut() = status;
    reply
}

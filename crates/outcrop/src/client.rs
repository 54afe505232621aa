//! HTTP to an instance: requests, problems as one clear line, uploads by link.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::walk::Found;

/// Documents that one run takes; more files make more runs. The API's own bound.
pub const RUN_DOCUMENTS: usize = 1_000;

/// Why a command failed, in one line for people.
#[derive(Debug)]
pub struct Failure(pub String);

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let mut words = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            words = format!("{words}: {cause}");
            source = cause.source();
        }
        Self(words)
    }
}

/// A client of one instance.
#[derive(Debug, Clone)]
pub struct Api {
    http: Client,
    pub base: String,
    pub space: String,
}

impl Api {
    /// A client of the instance at `base`.
    ///
    /// # Errors
    /// A URL that is no `http://` URL.
    pub fn new(base: &str, space: &str) -> Result<Self, Failure> {
        if !base.starts_with("http://") {
            let words = "this command speaks plain HTTP to an instance on this machine; give --url http://127.0.0.1:PORT";
            return Err(Failure(format!("{base} cannot be used: {words}")));
        }
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            space: space.to_owned(),
        })
    }

    /// Whether an instance of Outcrop answers here.
    pub async fn is_running(&self) -> bool {
        let request = self
            .http
            .get(format!("{}/v1/health", self.base))
            .timeout(Duration::from_secs(10));
        match request.send().await {
            Ok(reply) => reply
                .json::<Value>()
                .await
                .is_ok_and(|body| body["status"] == "ok"),
            Err(_) => false,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.http.get(format!("{}{path}", self.base));
        let joined = if path.contains('?') {
            request
        } else {
            request.query(&[("space", &self.space)])
        };
        json_of(joined.send().await?).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        json_of(
            self.http
                .post(format!("{}{path}", self.base))
                .json(body)
                .send()
                .await?,
        )
        .await
    }

    /// Begins an answer as server-sent events.
    pub async fn ask(&self, question: &str) -> Result<Response, Failure> {
        let reply = self
            .http
            .post(format!("{}/v1/ask", self.base))
            .header("accept", "text/event-stream")
            .json(&json!({ "question": question, "space": self.space }))
            .send()
            .await?;
        if reply.status().is_success() {
            Ok(reply)
        } else {
            Err(problem(reply).await)
        }
    }

    /// Uploads a file by a presigned link; answers its document's id.
    pub async fn upload(&self, file: &Found, readers: &[String]) -> Result<String, Failure> {
        let body = json!({
            "name": file.name, "bytes": file.bytes, "space": self.space, "readers": readers,
        });
        let announced = self.post("/v1/uploads", &body).await?;
        let text = |field: &str| announced[field].as_str().unwrap_or_default().to_owned();
        let content = tokio::fs::read(&file.path)
            .await
            .map_err(|error| Failure(format!("{}: {error}", file.path.display())))?;
        self.put(&text("upload_url"), content).await?;
        Ok(text("document_id"))
    }

    /// Uploads bytes under a name; answers the document's id.
    pub async fn upload_bytes(
        &self,
        name: &str,
        content: &[u8],
        readers: &[&str],
    ) -> Result<String, Failure> {
        let body = json!({
            "name": name, "bytes": content.len(), "space": self.space, "readers": readers,
        });
        let announced = self.post("/v1/uploads", &body).await?;
        let text = |field: &str| announced[field].as_str().unwrap_or_default().to_owned();
        self.put(&text("upload_url"), content.to_vec()).await?;
        Ok(text("document_id"))
    }

    async fn put(&self, link: &str, content: Vec<u8>) -> Result<(), Failure> {
        let reply = self.http.put(link).body(content).send().await?;
        if reply.status().is_success() {
            return Ok(());
        }
        let status = reply.status();
        Err(Failure(format!(
            "the upload link answered {status}: {}",
            reply.text().await.unwrap_or_default()
        )))
    }
}

async fn json_of(reply: Response) -> Result<Value, Failure> {
    if !reply.status().is_success() {
        return Err(problem(reply).await);
    }
    Ok(reply.json().await?)
}

/// `EmptyQuestion: the question is empty; …`, or what an answer that is no problem says.
async fn problem(reply: Response) -> Failure {
    let (status, url) = (reply.status(), reply.url().clone());
    let text = reply.text().await.unwrap_or_default();
    Failure(
        problem_line(&text)
            .unwrap_or_else(|| format!("{url} answered {status}; is this an Outcrop instance?")),
    )
}

/// A problem reply as one line.
pub fn problem_line(text: &str) -> Option<String> {
    let problem: Value = serde_json::from_str(text).ok()?;
    let (name, detail) = (problem["name"].as_str()?, problem["detail"].as_str()?);
    let again = if problem["retry"] == true {
        " (the same may succeed later)"
    } else {
        ""
    };
    Some(format!("{name}: {detail}{again}"))
}

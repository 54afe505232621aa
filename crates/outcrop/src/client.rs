//! HTTP to an instance: requests, problems as one clear line, uploads by link.

use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use crate::walk::Found;

/// Documents that one run takes; more files make more runs. The API's own bound.
pub const RUN_DOCUMENTS: usize = 1_000;

/// Why a command failed, in one line for people.
#[derive(Debug)]
pub struct Failure(pub String);

/// Why one file did not become a document.
#[derive(Debug)]
pub enum Unsent {
    /// The file cannot be taken, in words; other files can.
    File(String),
    /// The instance cannot be worked with; no file would get through.
    Instance(Failure),
}

impl From<reqwest::Error> for Unsent {
    fn from(error: reqwest::Error) -> Self {
        Self::Instance(error.into())
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect()
            && let Some(url) = error.url()
        {
            let base = url.origin().ascii_serialization();
            return Self(format!(
                "no instance answers at {base} any more; `outcrop dev` starts one, and goes on with what was interrupted"
            ));
        }
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
    token: Option<String>,
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
        // A proxy of the environment is for the world outside; it cannot reach this machine's loopback.
        let http = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .build()?;
        Ok(Self {
            http,
            token: None,
            base: base.trim_end_matches('/').to_owned(),
            space: space.to_owned(),
        })
    }

    /// The same, acting as whom a token stands for.
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    /// A request to the API. Links that take bytes bring their own permission, so they do not come from here.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Whether an instance of Outcrop answers here; also one that turns the token away, which the command then tells.
    pub async fn is_running(&self) -> bool {
        let request = self
            .request(Method::GET, "/v1/health")
            .timeout(Duration::from_secs(10));
        match request.send().await {
            Ok(reply) => reply.json::<Value>().await.is_ok_and(|body| {
                body["status"] == "ok"
                    || body["name"] == "InvalidToken"
                    || body["name"] == "UnknownSpace"
            }),
            Err(_) => false,
        }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let request = self.request(Method::GET, path);
        let joined = if path.contains('?') {
            request
        } else {
            request.query(&[("space", &self.space)])
        };
        json_of(joined.send().await?).await
    }

    pub async fn change(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::PUT, path).json(body);
        json_of(request.send().await?).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        json_of(self.request(Method::DELETE, path).send().await?).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path).json(body);
        json_of(request.send().await?).await
    }

    /// Begins an answer as server-sent events.
    pub async fn ask(
        &self,
        question: &str,
        conversation: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut body = json!({ "question": question, "space": self.space });
        if let Some(id) = conversation {
            body["conversation_id"] = json!(id);
        }
        let reply = self
            .request(Method::POST, "/v1/ask")
            .header("accept", "text/event-stream")
            .json(&body)
            .send()
            .await?;
        if reply.status().is_success() {
            Ok(reply)
        } else {
            Err(problem(reply).await)
        }
    }

    /// Uploads a file by a presigned link, read piece by piece; answers its document's id.
    ///
    /// # Errors
    /// [`Unsent::File`] for a file that cannot be read, that changed while it was sent, or that the instance refuses.
    pub async fn upload(&self, file: &Found, readers: &[String]) -> Result<String, Unsent> {
        let told = |error: std::io::Error| Unsent::File(error.to_string());
        let opened = tokio::fs::File::open(&file.path).await.map_err(told)?;
        // The length as it is now: the walk may be minutes old.
        let bytes = opened.metadata().await.map_err(told)?.len();
        let (id, link) = self.announce(&file.name, bytes, readers).await?;
        let body = Body::wrap_stream(ReaderStream::new(opened.take(bytes)));
        match self.put(&link, body, bytes).await {
            Err(Unsent::Instance(_)) if length_of(file).await != Some(bytes) => Err(Unsent::File(
                "the file changed while it was sent; ingest it again".into(),
            )),
            sent => sent.map(|()| id),
        }
    }

    /// Uploads bytes under a name; answers the document's id.
    pub async fn upload_bytes(
        &self,
        name: &str,
        content: &'static [u8],
        readers: &[String],
    ) -> Result<String, Unsent> {
        let bytes = content.len() as u64;
        let (id, link) = self.announce(name, bytes, readers).await?;
        self.put(&link, Body::from(content), bytes).await?;
        Ok(id)
    }

    /// The document's id and the link that takes its bytes.
    async fn announce(
        &self,
        name: &str,
        bytes: u64,
        readers: &[String],
    ) -> Result<(String, String), Unsent> {
        let body = json!({ "name": name, "bytes": bytes, "space": self.space, "readers": readers });
        let request = self.request(Method::POST, "/v1/uploads");
        let reply = request.json(&body).send().await?;
        let refused = is_about_the_file(reply.status());
        if !reply.status().is_success() {
            let failure = problem(reply).await;
            return Err(if refused {
                Unsent::File(failure.0)
            } else {
                Unsent::Instance(failure)
            });
        }
        let announced: Value = reply.json().await?;
        let text = |field: &str| announced[field].as_str().unwrap_or_default().to_owned();
        Ok((text("document_id"), text("upload_url")))
    }

    async fn put(&self, link: &str, content: Body, bytes: u64) -> Result<(), Unsent> {
        // S3 takes no body of unknown length.
        let request = self.http.put(link).header(CONTENT_LENGTH, bytes);
        let reply = request.body(content).send().await?;
        let status = reply.status();
        if status.is_success() {
            return Ok(());
        }
        let said = reply.text().await.unwrap_or_default();
        let words = format!("the upload link answered {status}: {said}");
        Err(if is_about_the_file(status) {
            Unsent::File(words)
        } else {
            Unsent::Instance(Failure(words))
        })
    }
}

async fn length_of(file: &Found) -> Option<u64> {
    let metadata = tokio::fs::metadata(&file.path).await.ok()?;
    Some(metadata.len())
}

/// A refusal that another file need not meet. A throttled instance (429) refuses every file.
fn is_about_the_file(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
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

//! A server of what a test prescribes: replies by path, and the requests that it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;

/// What stands at a path.
#[derive(Clone, Default)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Replies that come first, each once: status and `Retry-After`.
    pub before: Vec<(u16, Option<&'static str>)>,
}

impl Page {
    pub fn html(body: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/html".to_owned())],
            body: body.to_owned(),
            before: Vec::new(),
        }
    }

    pub fn of(status: u16, body: impl ToString) -> Self {
        Self {
            status,
            body: body.to_string(),
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn after(mut self, status: u16, retry_after: Option<&'static str>) -> Self {
        self.before.push((status, retry_after));
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method, path and query.
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

#[derive(Clone, Default)]
pub struct Stub {
    pub url: String,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let app = axum::Router::new()
            .fallback(answer)
            .with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        stub
    }

    /// Puts a page at a path with its query.
    pub fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub fn remove(&self, path: &str) {
        self.pages.lock().unwrap().remove(path);
    }

    /// The requests since the last look.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Their lines.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|one| one.line).collect()
    }
}

async fn answer(State(stub): State<Stub>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let place = head.uri.path_and_query().unwrap().as_str().to_owned();
    let headers: BTreeMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    stub.asked.lock().unwrap().push(Asked {
        line: format!("{} {place}", head.method),
        headers: headers.clone(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let mut pages = stub.pages.lock().unwrap();
    let Some(page) = pages.get_mut(&place) else {
        return Response::builder().status(404).body(Body::empty()).unwrap();
    };
    if !page.before.is_empty() {
        let (status, retry_after) = page.before.remove(0);
        let reply = Response::builder().status(status);
        let reply = match retry_after {
            Some(value) => reply.header("retry-after", value),
            None => reply,
        };
        return reply.body(Body::empty()).unwrap();
    }
    let known = |name: &str, sent: &str| {
        let value = page.headers.iter().find(|(header, _)| *header == name);
        value.is_some_and(|(_, value)| headers.get(sent) == Some(value))
    };
    if known("etag", "if-none-match") || known("last-modified", "if-modified-since") {
        return Response::builder().status(304).body(Body::empty()).unwrap();
    }
    let mut reply = Response::builder().status(page.status);
    for (name, value) in &page.headers {
        reply = reply.header(*name, value);
    }
    reply.body(Body::from(page.body.clone())).unwrap()
}

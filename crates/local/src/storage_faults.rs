//! Faults of S3 and DynamoDB on demand, in AWS's own shapes, so that a test can see what the functions make of them:
//! `POST /_local/storage-faults` arms one, `GET` lists them with what they struck, `DELETE` clears them.
//!
//! A fault strikes a share of the calls, in an order that its seed decides, or the next `times` of them; all calls, or those of
//! one `operation` of DynamoDB; before the store has done what was asked, or after. `disk_bytes` is another kind: S3 takes so many bytes more, then its disk is full.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A request that arms a fault is far below this.
const FAULT_BYTES: usize = 64 << 10;
/// The code of a full disk. S3 has none, for it never fills; the functions take it for a refusal, which it is.
pub(crate) const DISK_FULL: &str = "InsufficientStorage";
pub(crate) const DISK_FULL_WORDS: &str =
    "the disk that holds the laptop's data is full; free some space, then redrive the run";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Store {
    S3,
    Dynamodb,
}

/// The moment of a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Moment {
    /// Nothing was done.
    #[default]
    Before,
    /// It was done, and the answer says otherwise.
    After,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    service: Store,
    /// The error's code, one of [`codes`].
    #[serde(default)]
    error: Option<String>,
    /// 0 to 1: the share of the calls that are struck.
    #[serde(default)]
    share: Option<f64>,
    /// DynamoDB only: the operation whose calls count.
    #[serde(default)]
    operation: Option<String>,
    /// How many calls are struck; without it there is no end.
    #[serde(default)]
    times: Option<u64>,
    #[serde(default)]
    moment: Moment,
    #[serde(default)]
    seed: u64,
    /// S3 only, and without an error: bytes until the disk is full.
    #[serde(default)]
    disk_bytes: Option<u64>,
    #[serde(skip_deserializing, default)]
    calls: u64,
    #[serde(skip_deserializing, default)]
    struck: u64,
}

/// The errors that a store gives of its own accord, with their statuses.
/// Sources: Amazon S3 API Reference, error responses; Amazon DynamoDB Developer Guide, error messages and codes.
fn codes(store: Store) -> &'static [(&'static str, u16)] {
    match store {
        Store::S3 => &[
            ("SlowDown", 503),
            ("ServiceUnavailable", 503),
            ("InternalError", 500),
            ("RequestTimeout", 400),
        ],
        Store::Dynamodb => &[
            ("ProvisionedThroughputExceededException", 400),
            ("ThrottlingException", 400),
            ("RequestLimitExceeded", 400),
            ("InternalServerError", 500),
        ],
    }
}

/// What strikes one call.
#[derive(Debug)]
pub(crate) enum Strike {
    /// Answer this, and do nothing.
    Before(Response<Body>),
    /// Do what was asked, then answer this.
    After(Response<Body>),
}

/// The armed faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct StorageFaults(Arc<Mutex<Vec<Fault>>>);

impl StorageFaults {
    /// Answers `/_local/storage-faults`.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        match *request.method() {
            Method::GET => reply(StatusCode::OK, json!(*self.lock()).to_string()),
            Method::DELETE => {
                self.lock().clear();
                reply(StatusCode::NO_CONTENT, String::new())
            }
            Method::POST => {
                let body = axum::body::to_bytes(request.into_body(), FAULT_BYTES).await;
                let armed = body
                    .map_err(|error| error.to_string())
                    .and_then(|body| {
                        serde_json::from_slice(&body).map_err(|error| error.to_string())
                    })
                    .and_then(|fault| self.arm(fault));
                match armed {
                    Ok(()) => reply(StatusCode::NO_CONTENT, String::new()),
                    Err(words) => reply(
                        StatusCode::BAD_REQUEST,
                        json!({ "message": words }).to_string(),
                    ),
                }
            }
            _ => reply(StatusCode::METHOD_NOT_ALLOWED, String::new()),
        }
    }

    fn arm(&self, fault: Fault) -> Result<(), String> {
        match (&fault.error, fault.disk_bytes) {
            (None, Some(_)) if fault.service == Store::S3 => {}
            (Some(error), None) => {
                let known = codes(fault.service);
                if !known.iter().any(|(code, _)| code == error) {
                    let known: Vec<&str> = known.iter().map(|(code, _)| *code).collect();
                    return Err(format!("{error} is none of {}", known.join(", ")));
                }
            }
            _ => return Err("a fault needs an error, or disk_bytes for s3".to_owned()),
        }
        if fault
            .share
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            return Err("share must be between 0 and 1".to_owned());
        }
        if fault.operation.is_some() && fault.service != Store::Dynamodb {
            return Err("only calls to dynamodb name an operation".to_owned());
        }
        self.lock().push(fault);
        Ok(())
    }

    /// What strikes this call, if anything does.
    pub(crate) fn strike(
        &self,
        store: Store,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Strike> {
        let mut faults = self.lock();
        let mut of_store = faults.iter_mut().filter(|fault| fault.service == store);
        of_store.find_map(|fault| fault.turn(method, headers))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    fn turn(&mut self, method: &Method, headers: &HeaderMap) -> Option<Strike> {
        if self.operation.is_some() && self.operation.as_deref() != operation(headers) {
            return None;
        }
        self.calls += 1;
        if let Some(left) = &mut self.disk_bytes {
            if method != Method::PUT {
                return None;
            }
            let bytes = body_bytes(headers);
            if bytes <= *left {
                *left -= bytes;
                return None;
            }
            self.struck += 1;
            return Some(Strike::Before(s3_error(
                method,
                (DISK_FULL, 507),
                DISK_FULL_WORDS,
            )));
        }
        let over = self.times.is_some_and(|times| self.struck >= times);
        let spared = self
            .share
            .is_some_and(|share| fraction(self.seed, self.calls) >= share);
        if over || spared {
            return None;
        }
        self.struck += 1;
        let wanted = self.error.as_deref().unwrap_or_default();
        let mut known = codes(self.service).iter().copied();
        let code = known.find(|(code, _)| *code == wanted)?;
        let words = "asked for by /_local/storage-faults";
        let reply = match self.service {
            Store::S3 => s3_error(method, code, words),
            Store::Dynamodb => dynamodb_error(code, words),
        };
        Some(match self.moment {
            Moment::Before => Strike::Before(reply),
            Moment::After => Strike::After(reply),
        })
    }
}

/// Reads a body that nobody wants, piece by piece, so that its connection can be kept. What cannot be read ends with the
/// connection.
pub(crate) async fn drain(request: Request<Body>) {
    let mut pieces = request.into_body().into_data_stream();
    while let Some(Ok(_)) = pieces.next().await {}
}

/// The operation that a call to DynamoDB names.
fn operation(headers: &HeaderMap) -> Option<&str> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.rsplit('.').next()
}

/// A number from 0 to 1 that looks like chance and is the same each time: SplitMix64 of the seed and the call.
fn fraction(seed: u64, call: u64) -> f64 {
    let mut mixed = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// The length of the object, whatever the framing of its body adds.
fn body_bytes(headers: &HeaderMap) -> u64 {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    number("x-amz-decoded-content-length")
        .or_else(|| number("content-length"))
        .unwrap_or_default()
}

fn s3_error(method: &Method, (code, status): (&str, u16), words: &str) -> Response<Body> {
    // A reply to HEAD has no body, so that not even AWS can say which error it is.
    let body = match *method {
        Method::HEAD => String::new(),
        _ => format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{words}</Message></Error>"
        ),
    };
    let mut reply = reply(StatusCode::from_u16(status).unwrap_or_default(), body);
    let xml = axum::http::HeaderValue::from_static("application/xml");
    reply.headers_mut().insert("content-type", xml);
    reply
}

fn dynamodb_error((code, status): (&str, u16), words: &str) -> Response<Body> {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let body = json!({ "__type": kind, "message": words }).to_string();
    let mut reply = reply(StatusCode::from_u16(status).unwrap_or_default(), body);
    let json = axum::http::HeaderValue::from_static("application/x-amz-json-1.0");
    reply.headers_mut().insert("content-type", json);
    reply
}

fn reply(status: StatusCode, body: String) -> Response<Body> {
    let mut reply = Response::new(Body::from(body));
    *reply.status_mut() = status;
    reply
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn armed(fault: Value) -> StorageFaults {
        let faults = StorageFaults::default();
        faults.arm(serde_json::from_value(fault).unwrap()).unwrap();
        faults
    }

    #[test]
    fn a_share_of_the_calls_is_struck_and_the_same_ones_each_time() {
        let struck = |seed: u64| -> Vec<u32> {
            let faults =
                armed(json!({"service": "s3", "error": "SlowDown", "share": 0.05, "seed": seed}));
            let headers = HeaderMap::new();
            let calls = 0..10_000;
            calls
                .filter(|_| faults.strike(Store::S3, &Method::GET, &headers).is_some())
                .collect()
        };
        let one = struck(1);
        assert!((400..600).contains(&one.len()), "{}", one.len());
        assert_eq!(one, struck(1));
        assert_ne!(one, struck(2));
    }

    #[test]
    fn a_disk_fills_with_what_is_put() {
        let faults = armed(json!({"service": "s3", "disk_bytes": 100}));
        let check = |method: Method, bytes: u64, full: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("content-length", bytes.into());
            let strike = faults.strike(Store::S3, &method, &headers);
            assert_eq!(strike.is_some(), full, "{method} {bytes}");
        };
        check(Method::PUT, 60, false);
        check(Method::GET, 0, false);
        check(Method::PUT, 60, true);
        check(Method::PUT, 40, false);
        check(Method::DELETE, 0, false);
        check(Method::PUT, 1, true);
        let other = faults.strike(Store::Dynamodb, &Method::POST, &HeaderMap::new());
        assert!(other.is_none());
    }

    #[test]
    fn a_fault_of_an_operation_strikes_no_other() {
        let faults = armed(
            json!({"service": "dynamodb", "error": "InternalServerError", "operation": "PutItem", "times": 1}),
        );
        let check = |target: &'static str, strikes: bool| {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-target", target.parse().unwrap());
            let strike = faults.strike(Store::Dynamodb, &Method::POST, &headers);
            assert_eq!(strike.is_some(), strikes, "{target}");
        };
        check("DynamoDB_20120810.GetItem", false);
        check("DynamoDB_20120810.PutItem", true);
        check("DynamoDB_20120810.PutItem", false);
    }

    #[test]
    fn a_fault_that_no_store_has_is_refused() {
        let check = |fault: Value, words: &str| {
            let refused = StorageFaults::default().arm(serde_json::from_value(fault).unwrap());
            assert!(refused.unwrap_err().contains(words), "{words}");
        };
        check(json!({"service": "s3", "error": "Oops"}), "SlowDown");
        check(
            json!({"service": "dynamodb", "disk_bytes": 1}),
            "disk_bytes",
        );
        check(json!({"service": "s3"}), "disk_bytes");
        check(
            json!({"service": "s3", "error": "SlowDown", "share": 2.0}),
            "between",
        );
        check(
            json!({"service": "s3", "error": "SlowDown", "operation": "PutItem"}),
            "dynamodb",
        );
    }
}

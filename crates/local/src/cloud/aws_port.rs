//! One port for every AWS service: the signature's scope says which one is meant.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::json;
use tower::ServiceExt;

use crate::dynamo::Dynamo;
use crate::gateway::caller;
use crate::s3::S3;
use crate::secrets::Secrets;
use crate::states::StateMachines;
use crate::storage_faults::{self, StorageFaults, Store, Strike};

/// Step Functions' largest request is far below this.
const STATES_BYTES: usize = 2 << 20;

#[derive(Clone)]
pub(super) struct Services {
    pub dynamo: Dynamo,
    pub s3: S3,
    pub secrets: Secrets,
    pub states: StateMachines,
    pub lambda: Router,
    pub bedrock: Router,
    pub faults: StorageFaults,
}

pub(super) fn router(services: Services) -> Router {
    Router::new().fallback(dispatch).with_state(services)
}

async fn dispatch(State(services): State<Services>, request: Request<Body>) -> Response<Body> {
    if let Err(foreign) = caller::check(request.headers()) {
        return refusal(StatusCode::FORBIDDEN, foreign.name(), &foreign.to_string());
    }
    if request.uri().path() == "/_local/storage-faults" {
        return services.faults.answer(request).await;
    }
    if request.uri().path().starts_with("/_local/") {
        return oneshot(services.bedrock, request).await;
    }
    match service(&request).as_deref() {
        Some("dynamodb") => store(&services, Store::Dynamodb, request).await,
        Some("s3") => store(&services, Store::S3, request).await,
        Some("secretsmanager") => secrets(&services.secrets, request).await,
        Some("states") => states(&services.states, request).await,
        Some("lambda") => oneshot(services.lambda, request).await,
        Some("bedrock") => oneshot(services.bedrock, request).await,
        Some(other) => refusal(
            StatusCode::NOT_IMPLEMENTED,
            "UnsupportedServiceException",
            &format!(
                "the laptop does not run {other}; it runs dynamodb, s3, secretsmanager, states, lambda and bedrock"
            ),
        ),
        None => refusal(
            StatusCode::FORBIDDEN,
            "MissingAuthenticationTokenException",
            "the request is not signed; sign it with access key `outcrop` and secret `outcrop`",
        ),
    }
}

/// A request to a store, with the fault that strikes it.
async fn store(services: &Services, store: Store, request: Request<Body>) -> Response<Body> {
    let strike = services
        .faults
        .strike(store, request.method(), request.headers());
    let struck = match strike {
        Some(Strike::Before(reply)) => {
            storage_faults::drain(request).await;
            return reply;
        }
        Some(Strike::After(reply)) => Some(reply),
        None => None,
    };
    let done = match store {
        Store::Dynamodb => services.dynamo.forward(request).await,
        Store::S3 => services.s3.call(request).await,
    };
    struck.unwrap_or(done)
}

async fn oneshot(router: Router, request: Request<Body>) -> Response<Body> {
    match router.oneshot(request).await {
        Ok(reply) => reply,
        Err(never) => match never {},
    }
}

async fn secrets(secrets: &Secrets, request: Request<Body>) -> Response<Body> {
    let target = header(request.headers(), "x-amz-target")
        .unwrap_or_default()
        .to_owned();
    match axum::body::to_bytes(request.into_body(), STATES_BYTES).await {
        Ok(body) => match secrets.answer(&target, &body).await {
            Ok(reply) => Response::new(Body::from(reply.to_string())),
            Err((name, words)) => refusal(StatusCode::BAD_REQUEST, name, &words),
        },
        Err(error) => refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "InvalidRequestException",
            &error.to_string(),
        ),
    }
}

async fn states(states: &StateMachines, request: Request<Body>) -> Response<Body> {
    let target = header(request.headers(), "x-amz-target")
        .unwrap_or_default()
        .to_owned();
    match axum::body::to_bytes(request.into_body(), STATES_BYTES).await {
        Ok(body) => states.handle(&target, body).await.map(Body::from),
        Err(error) => refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "InvalidInput",
            &error.to_string(),
        ),
    }
}

/// The service of the credential scope `<key>/<date>/<region>/<service>/aws4_request`, from the header or, for presigned
/// requests, from the query.
fn service<B>(request: &Request<B>) -> Option<String> {
    let from_header = header(request.headers(), "authorization")
        .and_then(|value| value.split_once("Credential="))
        .map(|(_, rest)| rest.split([',', ' ']).next().unwrap_or_default().to_owned());
    let from_query = || {
        let query = request.uri().query()?;
        let value = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
        Some(
            percent_encoding::percent_decode_str(value)
                .decode_utf8_lossy()
                .into_owned(),
        )
    };
    match from_header.or_else(from_query) {
        Some(scope) => scope.rsplit('/').nth(1).map(str::to_owned),
        // Links in the older form of signatures, which boto3 still makes, are S3's alone.
        None => request
            .uri()
            .query()?
            .contains("AWSAccessKeyId=")
            .then(|| "s3".to_owned()),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refusal(status: StatusCode, name: &str, words: &str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-amzn-errortype", name)
        .body(Body::from(
            json!({ "__type": name, "message": words }).to_string(),
        ))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_names_the_service() {
        let check = |authorization: Option<&str>, uri: &str, expected: Option<&str>| {
            let mut request = Request::get(uri);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            assert_eq!(service(&request.body(()).unwrap()).as_deref(), expected);
        };
        let header = |service: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
            )
        };
        check(Some(&header("dynamodb")), "/", Some("dynamodb"));
        check(Some(&header("s3")), "/bucket", Some("s3"));
        check(
            None,
            "/b/k?X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fs3%2Faws4_request",
            Some("s3"),
        );
        check(
            None,
            "/b/k?AWSAccessKeyId=k&Signature=s&Expires=1",
            Some("s3"),
        );
        check(Some("Bearer token"), "/", None);
        check(None, "/", None);
    }
}

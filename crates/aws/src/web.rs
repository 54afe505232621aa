//! HTTP to places outside of AWS, for sources. Who sets a source up names a URL, and the function that asks it stands in a
//! network where other services trust whoever reaches them: only public addresses are asked, checked where names are
//! resolved, so that a name cannot point elsewhere after it was looked at. The laptop also asks itself.

mod address;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::body::SdkBody;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::config::Settings;
use address::is_public;

const CONNECT: Duration = Duration::from_secs(10);
/// Until a reply begins.
const READ: Duration = Duration::from_secs(30);
/// A reply with its whole body.
const WHOLE: Duration = Duration::from_secs(180);

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    #[error(
        "{host} has no public address; sources outside of AWS are asked over the internet only"
    )]
    AddressRefused { host: String },
    #[error("{url} is no http or https URL")]
    InvalidUrl { url: String },
    #[error("the reply is longer than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("no reply: {detail}")]
    Unreachable { detail: String },
}

/// One request.
#[derive(Debug, Clone, Default)]
pub struct WebRequest {
    /// `GET` where it is empty.
    pub method: &'static str,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// Bytes of the reply's body at the most.
    pub limit: u64,
    /// Whether a longer body is cut there, and not refused.
    pub cut: bool,
}

/// A reply, whatever its status. Redirects are replies: who follows them looks at where they lead.
#[derive(Debug, Clone, Default)]
pub struct WebReply {
    pub status: u16,
    /// Names in lowercase.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

/// The client. It is made with the first request: reading the certificates takes milliseconds that others need not pay.
#[derive(Clone, Debug)]
pub struct Web {
    connector: Arc<OnceLock<Connector>>,
    allow_loopback: bool,
}

impl Web {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            connector: Arc::default(),
            allow_loopback: settings.local,
        }
    }

    /// Whether nobody between here and the host reads what is sent to a URL: it is https, or on the laptop the machine's
    /// own.
    pub fn keeps_secrets(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<http::Uri>() else {
            return false;
        };
        let host = uri.host().unwrap_or_default();
        match uri.scheme_str() {
            Some("https") => !host.is_empty(),
            Some("http") => self.allow_loopback && is_loopback(host),
            _ => false,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`WebError`].
    pub async fn send(&self, request: WebRequest) -> Result<WebReply, WebError> {
        let reply = tokio::time::timeout(WHOLE, self.exchange(request)).await;
        reply.unwrap_or_else(|_| {
            let detail = format!("it took longer than {} s", WHOLE.as_secs());
            Err(WebError::Unreachable { detail })
        })
    }

    async fn exchange(&self, request: WebRequest) -> Result<WebReply, WebError> {
        self.refuse_literal(&request.url)?;
        let (limit, cut) = (request.limit, request.cut);
        let connector = self
            .connector
            .get_or_init(|| connector(self.allow_loopback));
        let reply = connector.call(built(request)?).await.map_err(|error| {
            refused_host(&error).unwrap_or_else(|| WebError::Unreachable {
                detail: chain(&error),
            })
        })?;
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in reply.headers() {
            let known = headers.entry(name.to_ascii_lowercase());
            // A header that comes several times is one list. Source: RFC 9110, section 5.3.
            known
                .and_modify(|list| *list = format!("{list}, {value}"))
                .or_insert_with(|| value.to_owned());
        }
        let status = reply.status().as_u16();
        let body = body(reply.into_body(), limit, cut).await?;
        Ok(WebReply {
            status,
            headers,
            body,
        })
    }

    /// An address that is written out is resolved by nobody, so it is looked at here.
    fn refuse_literal(&self, url: &str) -> Result<(), WebError> {
        let invalid = || WebError::InvalidUrl {
            url: url.chars().take(200).collect(),
        };
        let uri: http::Uri = url.parse().map_err(|_| invalid())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid());
        }
        let host = uri.host().ok_or_else(invalid)?;
        match written_out(host) {
            Some(address) if !is_public(address, self.allow_loopback) => {
                let host = host.to_owned();
                Err(WebError::AddressRefused { host })
            }
            _ => Ok(()),
        }
    }
}

/// The address of a host that is written as one.
fn written_out(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || written_out(host).is_some_and(|address| address.to_canonical().is_loopback())
}

fn built(request: WebRequest) -> Result<Request, WebError> {
    let invalid = |detail: String| WebError::Unreachable { detail };
    let mut built = http::Request::builder()
        .method(match request.method {
            "" => "GET",
            method => method,
        })
        .uri(&request.url);
    for (name, value) in &request.headers {
        built = built.header(*name, value);
    }
    let built = built
        .body(SdkBody::from(request.body))
        .map_err(|error| invalid(error.to_string()))?;
    Request::try_from(built).map_err(|error| invalid(error.to_string()))
}

async fn body(mut body: SdkBody, limit: u64, cut: bool) -> Result<Bytes, WebError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| WebError::Unreachable {
            detail: format!("the reply broke off: {error}"),
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = usize::try_from(limit).unwrap_or(usize::MAX) - whole.len();
        if data.len() > room && cut {
            whole.extend_from_slice(&data[..room]);
            break;
        }
        if data.len() > room {
            return Err(WebError::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn connector(allow_loopback: bool) -> Connector {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .build();
    let ring = tls::rustls_provider::CryptoMode::Ring;
    let builder = Connector::builder()
        .sleep_impl(TokioSleep::new())
        .connector_settings(settings)
        .tls_provider(tls::Provider::Rustls(ring));
    let roots = tls::TrustStore::empty().with_native_roots(true);
    let builder = match tls::TlsContext::builder().with_trust_store(roots).build() {
        Ok(context) => builder.tls_context(context),
        Err(_) => builder,
    };
    builder.build_with_resolver(PublicOnly { allow_loopback })
}

/// Resolves names to public addresses, and refuses those that have none.
#[derive(Debug, Clone)]
struct PublicOnly {
    allow_loopback: bool,
}

/// Told by the resolver, and found again in the chain of the connector's error.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no public address")]
struct NoPublicAddress {
    host: String,
}

impl ResolveDns for PublicOnly {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let (host, allow_loopback) = (name.to_owned(), self.allow_loopback);
        DnsFuture::new(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0))
                .await
                .map_err(|error| ResolveDnsError::new(BoxError::from(error)))?;
            let public: Vec<IpAddr> = found
                .map(|address| address.ip())
                .filter(|address| is_public(*address, allow_loopback))
                .collect();
            match public.is_empty() {
                true => Err(ResolveDnsError::new(NoPublicAddress { host })),
                false => Ok(public),
            }
        })
    }
}

fn refused_host(error: &(dyn std::error::Error + 'static)) -> Option<WebError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<NoPublicAddress>() {
            return Some(WebError::AddressRefused {
                host: refused.host.clone(),
            });
        }
        cause = error.source();
    }
    None
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests;

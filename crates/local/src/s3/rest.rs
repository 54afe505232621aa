//! A request's body that can be read on when the reply is made: where something of it is left, the connection ends with
//! the reply, and a client that keeps connections meets a closed one with its next request.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// So much is read for a request that is refused; who sends more loses the connection.
const READ_BYTES: usize = 1 << 20;
/// The longest wait for a piece of it.
const WAIT: Duration = Duration::from_secs(1);

/// The body, for whoever answers the request and for what comes after.
#[derive(Clone)]
pub(super) struct Rest(Arc<Mutex<Body>>);

impl Rest {
    pub(super) fn of(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Reads what is left, as far as that is reasonable.
    pub(super) async fn read(mut self) {
        let mut read = 0;
        while read < READ_BYTES {
            let frame =
                poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut self), context));
            match tokio::time::timeout(WAIT, frame).await {
                Ok(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
                _ => return,
            }
        }
    }
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.size_hint()
    }
}

//! JSON-RPC over one kept-alive HTTP/1.1 connection. No knowledge of what the calls mean.

use std::sync::Arc;
use std::time::Duration;

use adit_tokio::clock::Clock;
use adit_tokio::connect::connect;
use adit_tokio::net::Tokio;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Deserializer};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::error::{RpcError, said};

/// What one connection takes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Time for connecting, name look-up included.
    pub(super) connect: Duration,
    /// Most bytes of an answer.
    pub(super) answer: usize,
}

/// A connection to a node that opens itself when it is needed.
///
/// One call at a time. Dropping a call drops the connection too, for an answer that nobody read would be in the way.
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    limits: Limits,
    live: Option<Live>,
    calls: u64,
}

/// An open connection and the task that moves its bytes.
struct Live {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer's bytes, and which call they belong to.
pub(super) struct Answer {
    method: &'static str,
    id: u64,
    body: Bytes,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Envelope<T> {
    #[serde(default)]
    result: Given<T>,
    error: Option<Fault>,
    id: Option<serde_json::Value>,
}

/// One that is not there is told from `null`, which is an answer: the one that says that a block was taken.
#[derive(Default)]
enum Given<T> {
    #[default]
    Not,
    Is(Option<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::Is)
    }
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

impl Connection {
    pub(super) fn new(endpoint: Arc<Endpoint>, limits: Limits) -> Self {
        Self { endpoint, limits, live: None, calls: 0 }
    }

    /// Calls `method` and waits for the answer, for at most `limit` once the connection stands (none: for as long as it takes).
    ///
    /// A kept connection that turns out to be closed is opened anew once, so the node may see a call twice: only for calls that
    /// may be repeated. Credentials that are refused are read again once.
    pub(super) async fn call(
        &mut self,
        method: &'static str,
        params: &serde_json::Value,
        limit: Option<Duration>,
    ) -> Result<Answer, RpcError> {
        self.calls += 1;
        let id = self.calls;
        // 1.0 is what every node speaks; 2.0 is known to Bitcoin Core 28 and later.
        let call = serde_json::json!({ "jsonrpc": "1.0", "id": id, "method": method, "params": params });
        let call = Bytes::from(call.to_string());
        let mut may_reread = true;
        loop {
            let authorization = self.endpoint.authorization().map_err(RpcError::Cookie)?;
            let (status, content_type, body) = self.exchange(method, &call, &authorization, limit).await?;
            if status == StatusCode::UNAUTHORIZED {
                if may_reread && self.endpoint.is_outdated(&authorization).map_err(RpcError::Cookie)? {
                    may_reread = false;
                    continue;
                }
                return Err(RpcError::Unauthorized(self.endpoint.credentials_source()));
            }
            let is_json = content_type.trim_start().to_ascii_lowercase().starts_with("application/json");
            // Errors of the node come as JSON under the statuses 500, 404 and 400.
            return match (status.is_success(), is_json) {
                (_, true) => Ok(Answer { method, id, body }),
                (true, false) => Err(RpcError::NotJson(said(&content_type))),
                (false, false) => {
                    let begin = body.get(..body.len().min(512)).unwrap_or_default();
                    Err(RpcError::Status(status, said(&String::from_utf8_lossy(begin))))
                }
            };
        }
    }

    async fn exchange(
        &mut self,
        method: &'static str,
        call: &Bytes,
        authorization: &HeaderValue,
        limit: Option<Duration>,
    ) -> Result<(StatusCode, String, Bytes), RpcError> {
        // Taken out, so that a call that is dropped half-way leaves no connection with half an answer.
        let (mut live, mut is_kept) = match self.live.take().filter(|live| !live.sender.is_closed()) {
            Some(live) => (live, true),
            None => (self.open().await?, false),
        };
        loop {
            let request = self.request(call, authorization);
            let max = self.limits.answer;
            let exchange = async {
                live.sender.ready().await?;
                let response = live.sender.send_request(request).await?;
                Ok::<_, hyper::Error>(response)
            };
            let whole = async {
                match exchange.await {
                    Ok(response) => Ok(receive(response, max).await),
                    Err(error) => Err(error),
                }
            };
            let outcome = match limit {
                Some(limit) => timeout(limit, whole).await.map_err(|_| RpcError::Timeout(method, limit))?,
                None => whole.await,
            };
            match outcome {
                Ok(received) => {
                    let received = received?;
                    self.live = Some(live);
                    return Ok(received);
                }
                // Nodes close connections that were idle for a while (Bitcoin Core: 30 s), maybe just now.
                Err(error) if is_kept => {
                    tracing::debug!(node = %self.endpoint, %error, "kept connection was closed, opening another");
                    live = self.open().await?;
                    is_kept = false;
                }
                Err(error) => return Err(RpcError::Broken(error)),
            }
        }
    }

    fn request(&self, call: &Bytes, authorization: &HeaderValue) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(call.clone()));
        *request.method_mut() = hyper::Method::POST;
        // It came out of a URL that was read.
        *request.uri_mut() = self.endpoint.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.authority.clone());
        headers.insert(AUTHORIZATION, authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    async fn open(&self) -> Result<Live, RpcError> {
        let Endpoint { host, port, .. } = &*self.endpoint;
        let (stream, _) =
            connect::<Tokio>(&Clock::start(), host, *port, self.limits.connect).await.map_err(RpcError::Connect)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream.into_inner())).await.map_err(RpcError::Broken)?;
        let driver = tokio::spawn(async move {
            // What went wrong reaches the call that waits.
            let _ended = connection.await;
        });
        Ok(Live { sender, driver })
    }
}

/// Reads an answer whole, within the bound.
async fn receive(response: Response<Incoming>, max: usize) -> Result<(StatusCode, String, Bytes), RpcError> {
    let (head, body) = response.into_parts();
    let content_type =
        head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if body.size_hint().lower() > max as u64 {
        return Err(RpcError::TooLarge(max));
    }
    match Limited::new(body, max).collect().await {
        Ok(body) => Ok((head.status, content_type, body.to_bytes())),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => RpcError::Broken(*error),
            Err(error) => {
                debug_assert!(error.is::<LengthLimitError>(), "a body fails in no other way");
                RpcError::TooLarge(max)
            }
        }),
    }
}

impl Answer {
    /// The result, none for `null`. What it borrows, it borrows from the answer.
    pub(super) fn result<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, RpcError> {
        let envelope: Envelope<T> =
            serde_json::from_slice(&self.body).map_err(|error| RpcError::Garbage(self.method, error))?;
        if let Some(Fault { code, message }) = envelope.error {
            return Err(RpcError::Node { code, message: said(&message) });
        }
        if envelope.id.and_then(|id| id.as_u64()) != Some(self.id) {
            return Err(RpcError::Unanswered(self.method));
        }
        match envelope.result {
            Given::Is(result) => Ok(result),
            Given::Not => Err(RpcError::Unanswered(self.method)),
        }
    }

    /// The result of a call that never answers `null`.
    pub(super) fn some<'a, T: Deserialize<'a>>(&'a self) -> Result<T, RpcError> {
        self.result()?.ok_or(RpcError::Unanswered(self.method))
    }
}

//! JSON-RPC to a node, apart from the program's own client: what is asked here judges that one.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One call, one connection.
pub(crate) struct Rpc {
    runtime: Runtime,
    port: u16,
}

impl Rpc {
    pub(crate) fn new(port: u16) -> Self {
        Self { runtime: Builder::new_current_thread().enable_all().build().unwrap(), port }
    }

    /// Waits before the next attempt.
    pub(crate) fn pause(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Calls as this user (`name:password`); an error of any kind is told in words.
    pub(crate) fn call(&self, user: &str, method: &str, params: &Value) -> Result<Value, String> {
        let call = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            let connection = tokio::spawn(connection);
            let body = json!({ "jsonrpc": "1.0", "id": 1, "method": method, "params": params }).to_string();
            let request = Request::post("/")
                .header("host", "127.0.0.1")
                .header("content-type", "application/json")
                .header("authorization", format!("Basic {}", BASE64_STANDARD.encode(user)))
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| error.to_string())?;
            let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            connection.abort();
            let mut answer: Value = serde_json::from_slice(&body).map_err(|error| format!("{status}: {error}"))?;
            match answer["error"].take() {
                Value::Null => Ok(answer["result"].take()),
                error => Err(error.to_string()),
            }
        };
        let answered = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, call).await });
        answered
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
            .map_err(|error| format!("{method}: {error}"))
    }
}

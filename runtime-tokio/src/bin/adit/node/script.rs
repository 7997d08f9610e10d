//! A node that a test plays: an HTTP server on loopback that hands every call to the test and waits for what it says.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// The server; all its connections end when it is dropped.
pub(super) struct Script {
    pub(super) address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    _tasks: JoinSet<()>,
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    /// Number of the connection, from 0.
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) params: Value,
    /// `user:password`.
    pub(super) credentials: String,
    id: Value,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    close: bool,
}

impl Script {
    pub(super) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// At the address where one was before.
    pub(super) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Inside, so that they end with this task.
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(number, stream, sender.clone()));
            }
        });
        Self { address, calls, _tasks: tasks }
    }

    pub(super) async fn call(&mut self) -> Call {
        self.calls.recv().await.expect("the server runs")
    }

    /// The next call, which must be this one.
    pub(super) async fn expect(&mut self, method: &str) -> Call {
        let call = self.call().await;
        assert_eq!(call.method, method);
        call
    }

    /// No call is waiting.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.calls.try_recv().is_err()
    }
}

impl Call {
    pub(super) const fn id(&self) -> &Value {
        &self.id
    }

    pub(super) fn long_poll_id(&self) -> Option<&str> {
        self.params[0]["longpollid"].as_str()
    }

    pub(super) fn result(self, result: &Value) {
        let body = json!({ "result": result, "error": null, "id": self.id });
        self.json("200 OK", &body);
    }

    /// An error as Bitcoin Core sends it.
    pub(super) fn error(self, code: i64, message: &str) {
        let body = json!({ "result": null, "error": { "code": code, "message": message }, "id": self.id });
        self.json("500 Internal Server Error", &body);
    }

    pub(super) fn json(self, status: &str, body: &Value) {
        self.body(status, "application/json", &body.to_string());
    }

    pub(super) fn body(self, status: &str, content_type: &str, body: &str) {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.raw(text.into_bytes(), false);
    }

    /// These bytes, then the end of the connection if `close`.
    pub(super) fn raw(self, bytes: Vec<u8>, close: bool) {
        // A client that has given up needs no answer.
        let _gone = self.answer.send(Answer { bytes, close });
    }
}

async fn serve(connection: usize, mut stream: TcpStream, calls: mpsc::UnboundedSender<Call>) {
    let mut bytes = Vec::new();
    loop {
        let (head, body) = loop {
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            let text = head.map(|head| String::from_utf8(bytes[..head].to_vec()).unwrap());
            let length: Option<usize> =
                text.as_deref().and_then(|text| header(text, "content-length")).map(|text| text.parse().unwrap());
            if let (Some(head), Some(text), Some(length)) = (head, text, length)
                && let Some(body) = bytes.get(head..head + length)
            {
                let body: Value = serde_json::from_slice(body).unwrap();
                bytes.drain(..head + length);
                break (text, body);
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
        assert!(header(&head, "host").is_some_and(|host| host.starts_with("127.0.0.1:")), "{head}");
        let credentials = header(&head, "authorization").and_then(|text| text.strip_prefix("Basic ")).unwrap();
        let (answer, answered) = oneshot::channel();
        let call = Call {
            connection,
            method: body["method"].as_str().unwrap().into(),
            params: body["params"].clone(),
            credentials: String::from_utf8(BASE64_STANDARD.decode(credentials).unwrap()).unwrap(),
            id: body["id"].clone(),
            answer,
        };
        if calls.send(call).is_err() {
            return;
        }
        // A test that drops the call closes the connection.
        let Ok(answer) = answered.await else { return };
        if stream.write_all(&answer.bytes).await.is_err() || answer.close {
            return;
        }
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

//! A caller on a raw socket, and its reading of what comes back.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{eventually, gateway::Scene, provider::ROW};

/// How long an answer may take that comes by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a caller does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Sends a text, in which `{fields}` stands for the host, the key, and the row's name.
    Send(String),
    /// Sends such a text one byte at a time, with a pause before each, until the gateway takes no more.
    Drip(String, Duration),
    /// Reads until this has come.
    Until(&'static str),
    /// Waits until the provider was asked.
    Asked,
    /// Says that nothing more will come, and goes on reading.
    Finish,
    /// Goes away without a word; what it has read by then nobody sees.
    Leave,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
    /// Whether the body came to its end.
    pub(super) whole: bool,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Does all of it, and reads to the end of the connection; gives what came.
pub(super) async fn play(scene: &Scene, row: &str, key: &str, acts: &[Act]) -> Vec<u8> {
    let address = scene.gateway.address;
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut read = Vec::new();
    for act in acts {
        match act {
            Act::Send(text) => {
                // The gateway may have refused it before its end.
                let _sent = stream.write_all(filled(text, row, key).as_bytes()).await;
            }
            Act::Drip(text, pause) => {
                let text = filled(text, row, key);
                until_refused(&mut stream, &mut read, text.as_bytes(), *pause).await;
            }
            Act::Until(wanted) => until(&mut stream, &mut read, wanted.as_bytes()).await,
            Act::Asked => {
                eventually("the provider is asked", async || {
                    let providers = [&scene.one, &scene.two];
                    let mut asked = providers.into_iter().flat_map(|it| it.requests());
                    asked.any(|it| it.row() == Some(row)).then_some(())
                })
                .await;
            }
            Act::Finish => stream.shutdown().await.expect("it is open"),
            Act::Leave => return Vec::new(),
        }
    }
    let reading = async {
        // A connection that is reset has ended, too.
        while let Ok(1..) = stream.read_buf(&mut read).await {}
    };
    timeout(PATIENCE, reading)
        .await
        .unwrap_or_else(|_| panic!("{row}: the connection ends"));
    read
}

fn filled(text: &str, row: &str, key: &str) -> String {
    let fields = format!(
        "host: gateway\r\nauthorization: Bearer {key}\r\n{ROW}: {row}\r\nx-sluice-metadata: {{\"row\":\"{row}\"}}\r\n"
    );
    text.replace("{fields}", &fields)
}

/// Sends byte after byte until all are sent, or something comes back.
async fn until_refused(stream: &mut TcpStream, read: &mut Vec<u8>, text: &[u8], pause: Duration) {
    for byte in text {
        // The pause is the reading: it ends early when there is something to read.
        match timeout(pause, stream.read_buf(read)).await {
            Err(_) => {}
            Ok(_) => return,
        }
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
    }
}

async fn until(stream: &mut TcpStream, read: &mut Vec<u8>, wanted: &[u8]) {
    let reading = async {
        while !read.windows(wanted.len()).any(|it| it == wanted) {
            let count = stream.read_buf(read).await.expect("it is open");
            assert!(count > 0, "it ends before that: {}", read.escape_ascii());
        }
    };
    timeout(PATIENCE, reading).await.expect("it comes");
}

/// All answers in a text, one after the other. Interim ones are passed over.
pub(super) fn answers(mut text: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !text.is_empty() {
        let (answer, rest) = answer(text);
        text = rest;
        if answer.status >= 200 {
            answers.push(answer);
        }
    }
    answers
}

fn answer(text: &[u8]) -> (Answer, &[u8]) {
    let end = find(text, b"\r\n\r\n").expect("a head comes whole");
    let head = std::str::from_utf8(&text[..end]).expect("a head is text");
    let rest = &text[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|it| it.split(' ').nth(1));
    let status: u16 = status.and_then(|it| it.parse().ok()).expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: String::new(),
        whole: true,
    };
    let (body, whole, rest) = if answer.header("transfer-encoding") == Some("chunked") {
        chunks(rest)
    } else if let Some(length) = answer.header("content-length") {
        let length: usize = length.parse().expect("a length");
        let here = length.min(rest.len());
        (rest[..here].to_vec(), here == length, &rest[here..])
    } else if status < 200 {
        (Vec::new(), true, rest)
    } else {
        (rest.to_vec(), true, &rest[rest.len()..])
    };
    answer.body = String::from_utf8(body).expect("text");
    answer.whole = whole;
    (answer, rest)
}

fn chunks(mut text: &[u8]) -> (Vec<u8>, bool, &[u8]) {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(text, b"\r\n") else {
            return (body, false, &[]);
        };
        let size = std::str::from_utf8(&text[..end]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        text = &text[end + 2..];
        if text.len() < size + 2 {
            body.extend_from_slice(&text[..size.min(text.len())]);
            return (body, false, &[]);
        }
        body.extend_from_slice(&text[..size]);
        text = &text[size + 2..];
        if size == 0 {
            return (body, true, text);
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|it| it == what)
}

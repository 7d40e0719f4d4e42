//! One request's work, on a thread that may wait: find out what the text is, run it, send what
//! comes out.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::ask::Ask;
use super::body::{AnswerBody, BodyReader};
use super::encoding::{Encoding, decoder};
use super::engine::use_database;
use super::exception::{Exception, Kind};
use super::ffi::{Answer, Class, Connection, EngineError, ResultStream, Statistics};
use super::format::{Layout, layout};
use super::framing::Refusal;
use super::multipart;
use super::reply::{Ending, Reply, tag};
use super::server::Shared;
use super::sql::{InsertHead, Shape, shape};

/// How much of a body is looked at to find where an insert's data begins: ClickHouse's own bound
/// for the part of a query that is parsed (`max_query_size`).
const MAX_HEAD_BYTES: u64 = 256 * 1024;
/// The largest text that is not an insert's data. Longer ones than `max_query_size` need that
/// setting, and then this bounds what is held in memory.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;
/// Data goes to the engine in pieces of this size: large enough to cost nothing a row.
const INSERT_PIECE_BYTES: usize = 256 * 1024;
/// The default of ClickHouse's HTTP interface.
const DEFAULT_FORMAT: &str = "TabSeparated";

/// A request on its way to the engine.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) ask: Ask,
    pub(super) query_id: String,
    pub(super) encoding: Encoding,
    pub(super) headers: HeaderMap,
    pub(super) body: BodyReader,
}

// === impl Job ===

impl Job {
    /// Runs to the end, and answers whatever happens.
    pub(super) fn run(self, head: oneshot::Sender<Response<AnswerBody>>, runtime: Handle) {
        let mut reply = Reply::new(&self, head, runtime);
        // The session is free again before the client sees the end, and may ask the next thing.
        match self.answer(&mut reply) {
            Ok(Ending::Answer(response)) => {
                reply.send(response);
            }
            Ok(Ending::Sent(rest)) => drop(rest),
            Err(exception) => {
                tracing::debug!(code = exception.code(), "a query failed");
                reply.error(&exception);
            }
        }
    }

    fn answer(self, reply: &mut Reply) -> Result<Ending, Exception> {
        let Self {
            shared,
            ask,
            query_id: _,
            encoding: _,
            headers,
            body,
        } = self;
        let boundary = headers
            .get(CONTENT_TYPE)
            .and_then(|value| multipart::boundary(value.to_str().ok()?));
        let mut work = Work {
            body: decoder(&headers, ask.decompress, body)?,
            ask,
        };
        if let Some(boundary) = boundary {
            let form = work.read_up_to(MAX_TEXT_BYTES)?;
            work.ask.take_form(multipart::fields(&form, &boundary)?)?;
        }
        let (text, shape) = work.read_text()?;
        let settings = work.ask.take_settings()?;
        match work.ask.session.take() {
            None => work.run_on(&mut shared.engine.connect(&settings)?, &text, shape, reply),
            Some(session) => {
                let mut lease = shared.sessions.take(&session, &shared.engine)?;
                work.run_on(
                    lease.connection(&shared.engine, &settings)?,
                    &text,
                    shape,
                    reply,
                )
            }
        }
    }
}

/// What is left to do once the body can be read.
struct Work {
    ask: Ask,
    /// Decoded.
    body: Box<dyn Read + Send>,
}

// === impl Work ===

impl Work {
    /// The query's text, from the URL and the body. Of an insert with data only its head, and as
    /// much of the data as came along; the rest stays in the body.
    fn read_text(&mut self) -> Result<(Vec<u8>, Shape), Exception> {
        let mut text = std::mem::take(&mut self.ask.query).into_bytes();
        if !text.is_empty() {
            text.push(b'\n');
            let seen = shape(&text);
            if matches!(seen, Shape::Insert(_)) {
                return Ok((text, seen));
            }
        }
        let head = (&mut self.body)
            .take(MAX_HEAD_BYTES)
            .read_to_end(&mut text)
            .map_err(read_failed)?;
        let seen = shape(&text);
        if matches!(seen, Shape::Insert(_))
            || u64::try_from(head).is_ok_and(|head| head < MAX_HEAD_BYTES)
        {
            return Ok((text, seen));
        }
        let rest = self.read_up_to(MAX_TEXT_BYTES)?;
        text.extend_from_slice(&rest);
        let seen = shape(&text);
        Ok((text, seen))
    }

    fn read_up_to(&mut self, limit: u64) -> Result<Vec<u8>, Exception> {
        let mut bytes = Vec::new();
        let count = (&mut self.body)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(read_failed)?;
        if u64::try_from(count).is_ok_and(|count| count <= limit) {
            return Ok(bytes);
        }
        Err(Exception::new(
            Kind::QueryIsTooLarge,
            format!("The query's text is larger than {limit} bytes."),
        ))
    }

    fn run_on(
        self,
        connection: &mut Connection,
        text: &[u8],
        shape: Shape,
        reply: &mut Reply,
    ) -> Result<Ending, Exception> {
        if let Some(database) = self
            .ask
            .database
            .as_deref()
            .filter(|database| !database.is_empty())
        {
            connection
                .query(use_database(database).as_bytes(), "Null", &[])
                .map_err(of_engine)?;
        }
        match shape {
            Shape::Insert(_) if self.ask.read_only => Err(read_only()),
            Shape::Insert(head) => self.insert(connection, text, &head, reply),
            Shape::ServerFile => Err(Exception::new(
                Kind::IntoOutfileNotAllowed,
                "Files of the server's machine are not allowed.",
            )),
            Shape::Other { selects, format } => {
                self.query(connection, text, selects, format, reply)
            }
        }
    }

    fn insert(
        mut self,
        connection: &mut Connection,
        text: &[u8],
        head: &InsertHead,
        reply: &mut Reply,
    ) -> Result<Ending, Exception> {
        let statement = &text[..head.statement_end];
        let mut insert = connection
            .insert(statement, &head.format, &self.ask.parameters)
            .map_err(of_engine)?;
        let first = &text[head.data_start..];
        if !first.is_empty() {
            insert.append(first).map_err(of_engine)?;
        }
        let mut piece = vec![0; INSERT_PIECE_BYTES];
        loop {
            let filled = fill(&mut self.body, &mut piece).map_err(read_failed)?;
            if filled == 0 {
                break;
            }
            insert.append(&piece[..filled]).map_err(of_engine)?;
        }
        let statistics = insert.finish().map_err(of_engine)?;
        Ok(Ending::Answer(reply.done(&statistics, None, Bytes::new())))
    }

    fn query(
        self,
        connection: &mut Connection,
        text: &[u8],
        selects: bool,
        format: Option<String>,
        reply: &mut Reply,
    ) -> Result<Ending, Exception> {
        let classified = connection.classify(text);
        if classified.statements > 1 {
            let message = "Syntax error (Multi-statements are not allowed).";
            return Err(Exception::new(Kind::SyntaxError, message));
        }
        if self.ask.read_only && matches!(classified.class, Class::Mutating | Class::Control) {
            return Err(read_only());
        }
        let default = self
            .ask
            .default_format
            .as_deref()
            .filter(|format| !format.is_empty())
            .unwrap_or(DEFAULT_FORMAT);
        let has_result = classified.class == Class::ReadOnly;
        let format = format.unwrap_or_else(|| default.to_owned());
        let layout = layout(&format);
        if selects && has_result && !self.ask.wait_end_of_query && can_stream(layout, text) {
            let stream = connection
                .stream(text, default, &self.ask.parameters)
                .map_err(of_engine)?;
            return send_stream(stream, layout, &format, reply);
        }
        let answer = connection
            .query(text, default, &self.ask.parameters)
            .map_err(of_engine)?;
        let statistics = answer.statistics();
        let format = has_result.then_some(format.as_str());
        Ok(Ending::Answer(reply.done(
            &statistics,
            format,
            Bytes::from_owner(answer),
        )))
    }
}

/// Totals and extremes come behind the last row, and a JSON array has brackets around all rows:
/// such results are not only rows.
fn can_stream(layout: Layout, text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let has = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
    layout != Layout::Whole && !has(b"totals") && !has(b"extremes") && !has(b"json_array_of_rows")
}

fn send_stream(
    mut stream: ResultStream<'_>,
    layout: Layout,
    format: &str,
    reply: &mut Reply,
) -> Result<Ending, Exception> {
    // Up to the first block an error still gets a status of its own.
    let Some(first) = stream.next().map_err(of_engine)? else {
        return Ok(Ending::Answer(reply.done(
            &Statistics::default(),
            Some(format),
            Bytes::new(),
        )));
    };
    let header = layout.header(first.bytes()).to_vec();
    let tag = tag();
    let Some(sink) = reply.start(format, &tag) else {
        return Ok(Ending::Sent(None));
    };
    let mut encoder = reply.encoder(sink);
    let sent = send_blocks(&mut encoder, &first, &header, &mut stream).and_then(|late| {
        if let Some(error) = late {
            let frame = Exception::of_engine(&error).frame(reply.version(), &tag);
            encoder.write_all(frame.as_bytes())?;
        }
        encoder.finish()
    });
    match sent {
        Ok(sink) => Ok(Ending::Sent(Some(sink))),
        Err(error) => {
            tracing::debug!(%error, "the client went away");
            Ok(Ending::Sent(None))
        }
    }
}

/// Sends all blocks; returns the engine's error when it has one after the first.
fn send_blocks(
    sink: &mut impl Write,
    first: &Answer,
    header: &[u8],
    stream: &mut ResultStream<'_>,
) -> io::Result<Option<EngineError>> {
    send_block(sink, first, b"")?;
    loop {
        match stream.next() {
            Ok(Some(block)) => send_block(sink, &block, header)?,
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        }
    }
}

fn send_block(encoder: &mut impl Write, block: &Answer, header: &[u8]) -> io::Result<()> {
    let rows = block.bytes().strip_prefix(header).unwrap_or(block.bytes());
    encoder.write_all(rows)?;
    encoder.flush()
}

/// Reads until `buffer` is full or the body ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn read_only() -> Exception {
    Exception::new(
        Kind::Readonly,
        "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly.",
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is given to map_err, which passes by value"
)]
fn of_engine(error: String) -> Exception {
    Exception::of_engine(&error)
}

fn read_failed(error: io::Error) -> Exception {
    let text = error.to_string();
    match error
        .into_inner()
        .and_then(|inner| inner.downcast::<Refusal>().ok())
    {
        Some(refusal) => refusal.0,
        None => Exception::new(
            Kind::CannotDecompress,
            format!("Cannot read the body: {text}."),
        ),
    }
}

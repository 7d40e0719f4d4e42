//! libchdb, ClickHouse's engine as a C library: the one place of this crate with unsafe code.
//!
//! Everything that leaves this file is safe. The C API's rules (`chdb.h` of chdb-core 26.7) become
//! types: a connection runs one statement at a time (`&mut self`), a stream borrows its connection
//! until it is dropped, and every handle is destroyed exactly once. Connections may move between
//! threads, and different connections may run at once: the engine locks what they share.
#![expect(
    unsafe_code,
    reason = "libchdb is a C library, loaded when the program runs"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};

use libloading::Library;

/// What the engine says about a statement that failed: `Code: N. DB::Exception: …`.
pub(super) type EngineError = String;

/// A named value for a `{name:Type}` placeholder, in ClickHouse's escaped text form.
pub(super) type Parameter = (String, String);

/// Declares the table of functions and how it is filled from the library.
macro_rules! api {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        struct Api { $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Api {
            fn find(library: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: each signature below is that of chdb.h.
                Ok(Self { $($field: *unsafe { library.get($symbol) }?,)* })
            }
        }
    };
}

type Bytes = *const c_char;
type RawConnection = *mut c_void;
type RawResult = *mut c_void;
type RawInsert = *mut c_void;

api! {
    set_signal_handlers = "chdb_set_signal_handlers_enabled": fn(c_int);
    connect = "chdb_connect": fn(c_int, *const Bytes) -> *mut RawConnection;
    close = "chdb_close_conn": fn(*mut RawConnection);
    shutdown = "chdb_shutdown": fn() -> c_int;
    query = "chdb_query_with_params_n": fn(RawConnection, Bytes, usize, Bytes, usize, *const Bytes, *const usize, *const Bytes, *const usize, usize) -> RawResult;
    stream_query = "chdb_stream_query_with_params_n": fn(RawConnection, Bytes, usize, Bytes, usize, *const Bytes, *const usize, *const Bytes, *const usize, usize) -> RawResult;
    stream_fetch = "chdb_stream_fetch_result": fn(RawConnection, RawResult) -> RawResult;
    stream_cancel = "chdb_stream_cancel_query": fn(RawConnection, RawResult);
    destroy_result = "chdb_destroy_query_result": fn(RawResult);
    result_buffer = "chdb_result_buffer": fn(RawResult) -> *const u8;
    result_length = "chdb_result_length": fn(RawResult) -> usize;
    result_rows = "chdb_result_rows_read": fn(RawResult) -> u64;
    storage_rows = "chdb_result_storage_rows_read": fn(RawResult) -> u64;
    storage_bytes = "chdb_result_storage_bytes_read": fn(RawResult) -> u64;
    rows_written = "chdb_result_rows_written": fn(RawResult) -> u64;
    bytes_written = "chdb_result_bytes_written": fn(RawResult) -> u64;
    result_error = "chdb_result_error": fn(RawResult) -> *const c_char;
    insert = "chdb_stream_insert_with_params_n": fn(RawConnection, Bytes, usize, Bytes, usize, *const Bytes, *const usize, *const Bytes, *const usize, usize) -> RawInsert;
    insert_append = "chdb_stream_append": fn(RawInsert, *const u8, usize) -> c_int;
    insert_done = "chdb_stream_done": fn(RawInsert) -> RawResult;
    insert_cancel = "chdb_stream_cancel_insert": fn(RawInsert);
    insert_error = "chdb_stream_insert_error": fn(RawInsert) -> *const c_char;
    insert_destroy = "chdb_destroy_insert_stream": fn(RawInsert);
    classify = "chdb_classify_query_n": fn(RawConnection, Bytes, usize, Bytes, usize, *mut Analysis) -> c_int;
}

/// `chdb_query_analysis_v1`.
#[repr(C)]
struct Analysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// The library, with its engine not yet started. Never unloaded: the engine's threads run in it.
#[derive(Clone, Copy)]
pub(super) struct Chdb {
    api: &'static Api,
}

/// One session with the engine: its own settings, current database and temporary tables.
pub(super) struct Connection {
    api: &'static Api,
    handle: NonNull<RawConnection>,
}

// SAFETY: the engine takes its own thread state at each call, and `&mut self` keeps calls apart.
unsafe impl Send for Connection {}

/// A finished statement's output and statistics, owned by the library until it is dropped.
pub(super) struct Answer {
    api: &'static Api,
    handle: NonNull<c_void>,
}

// SAFETY: a result is a buffer that nothing else refers to.
unsafe impl Send for Answer {}

/// What a statement read and wrote.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Statistics {
    pub(super) result_rows: u64,
    pub(super) read_rows: u64,
    pub(super) read_bytes: u64,
    pub(super) written_rows: u64,
    pub(super) written_bytes: u64,
}

/// A running `SELECT` whose rows are fetched block by block.
pub(super) struct ResultStream<'c> {
    connection: &'c mut Connection,
    handle: NonNull<c_void>,
    finished: bool,
}

/// A running `INSERT` that is fed its data piece by piece.
pub(super) struct InsertStream<'c> {
    connection: &'c mut Connection,
    handle: NonNull<c_void>,
    finished: bool,
}

/// What a text would do, as the engine's own parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Classified {
    /// How many statements the text holds; zero when it does not parse.
    pub(super) statements: u32,
    pub(super) class: Class,
}

/// What a statement leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS: nothing.
    ReadOnly,
    /// Changes data or definitions.
    Mutating,
    /// SET, USE, SYSTEM, temporary tables, INTO OUTFILE and the like.
    Control,
    /// Did not parse.
    Unknown,
}

// === impl Chdb ===

impl Chdb {
    /// Loads the library at `path` and turns its signal handlers off, since signals are ours.
    pub(super) fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: loading runs the library's initialisers, which is what it is loaded for.
        let library: &'static Library = Box::leak(Box::new(unsafe { Library::new(path) }?));
        let api: &'static Api = Box::leak(Box::new(Api::find(library)?));
        // SAFETY: called before the first connection, as chdb.h asks.
        unsafe { (api.set_signal_handlers)(0) };
        Ok(Self { api })
    }

    /// Opens a connection; the first one starts the engine on `--path`. `None` when the engine
    /// refuses, which it does without a reason: a bad path, or a bad value of a setting.
    pub(super) fn connect(self, arguments: &[String]) -> Option<Connection> {
        let owned: Vec<CString> = std::iter::once("clickhouse")
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<_, _>>()
            .ok()?;
        let pointers: Vec<Bytes> = owned.iter().map(|argument| argument.as_ptr()).collect();
        let count = c_int::try_from(pointers.len()).ok()?;
        // SAFETY: `count` pointers to strings that end in NUL and outlive the call.
        let handle = unsafe { (self.api.connect)(count, pointers.as_ptr()) };
        NonNull::new(handle).map(|handle| Connection {
            api: self.api,
            handle,
        })
    }

    /// Stops the engine after the last connection was dropped. False while one is still open.
    pub(super) fn shutdown(self) -> bool {
        // SAFETY: takes no argument, and may be called from any thread.
        unsafe { (self.api.shutdown)() == 0 }
    }
}

// === impl Connection ===

impl Connection {
    /// Runs one statement to its end and returns all its output, in `format` unless it names one.
    pub(super) fn query(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> Result<Answer, EngineError> {
        let handle = self.call(self.api.query, sql, format, parameters);
        Answer::checked(self.api, handle)
    }

    /// Starts a `SELECT` whose output is fetched block by block.
    pub(super) fn stream(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> Result<ResultStream<'_>, EngineError> {
        let handle = self.call(self.api.stream_query, sql, format, parameters);
        let answer = Answer::checked(self.api, handle)?;
        let handle = answer.into_raw();
        Ok(ResultStream {
            connection: self,
            handle,
            finished: false,
        })
    }

    /// Starts an `INSERT` that gets its data, in `format`, from [`InsertStream::append`].
    pub(super) fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> Result<InsertStream<'_>, EngineError> {
        let handle = self.call(self.api.insert, sql, format, parameters);
        let Some(handle) = NonNull::new(handle) else {
            return Err("the engine gave no insert stream".to_owned());
        };
        let stream = InsertStream {
            connection: self,
            handle,
            finished: false,
        };
        match stream.error() {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Parses without running.
    pub(super) fn classify(&mut self, sql: &[u8]) -> Classified {
        let mut analysis = Analysis {
            struct_size: 0,
            statement_count: 0,
            flags: 0,
            query_class: 4,
        };
        analysis.struct_size = u32::try_from(size_of::<Analysis>()).unwrap_or(16);
        // SAFETY: the text is read only during the call, a null target is allowed, and the report
        // has the size that it says.
        let state = unsafe {
            (self.api.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                ptr::null(),
                0,
                &raw mut analysis,
            )
        };
        let class = match (state, analysis.query_class) {
            (0, 0) => Class::ReadOnly,
            (0, 1 | 2) => Class::Mutating,
            (0, 3) => Class::Control,
            _ => Class::Unknown,
        };
        Classified {
            statements: analysis.statement_count,
            class,
        }
    }

    fn raw(&self) -> RawConnection {
        // SAFETY: `chdb_connect` returned a pointer to the connection, valid until it is closed.
        unsafe { *self.handle.as_ptr() }
    }

    fn call(
        &mut self,
        function: unsafe extern "C" fn(
            RawConnection,
            Bytes,
            usize,
            Bytes,
            usize,
            *const Bytes,
            *const usize,
            *const Bytes,
            *const usize,
            usize,
        ) -> *mut c_void,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> *mut c_void {
        let names: Vec<Bytes> = parameters
            .iter()
            .map(|(name, _)| name.as_ptr().cast())
            .collect();
        let name_lengths: Vec<usize> = parameters.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<Bytes> = parameters
            .iter()
            .map(|(_, value)| value.as_ptr().cast())
            .collect();
        let value_lengths: Vec<usize> = parameters.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: every pointer goes with its length, all outlive the call, and the engine copies.
        unsafe {
            function(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                parameters.len(),
            )
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened by `connect`, closed here only; its streams borrow it and are gone.
        unsafe { (self.api.close)(self.handle.as_ptr()) };
    }
}

// === impl Answer ===

impl Answer {
    fn checked(api: &'static Api, handle: RawResult) -> Result<Self, EngineError> {
        let Some(handle) = NonNull::new(handle) else {
            return Err("the engine gave no result".to_owned());
        };
        let answer = Self { api, handle };
        // SAFETY: the handle is live.
        match text(unsafe { (api.result_error)(handle.as_ptr()) }) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// The output.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer belongs to the result, which lives as long as the borrow.
        unsafe {
            let buffer = (self.api.result_buffer)(self.handle.as_ptr());
            let length = (self.api.result_length)(self.handle.as_ptr());
            if buffer.is_null() || length == 0 {
                &[]
            } else {
                std::slice::from_raw_parts(buffer, length)
            }
        }
    }

    /// What the statement read and wrote.
    pub(super) fn statistics(&self) -> Statistics {
        let handle = self.handle.as_ptr();
        // SAFETY: the handle is live.
        unsafe {
            Statistics {
                result_rows: (self.api.result_rows)(handle),
                read_rows: (self.api.storage_rows)(handle),
                read_bytes: (self.api.storage_bytes)(handle),
                written_rows: (self.api.rows_written)(handle),
                written_bytes: (self.api.bytes_written)(handle),
            }
        }
    }

    fn into_raw(self) -> NonNull<c_void> {
        let handle = self.handle;
        std::mem::forget(self);
        handle
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: destroyed here only.
        unsafe { (self.api.destroy_result)(self.handle.as_ptr()) };
    }
}

// === impl ResultStream ===

impl ResultStream<'_> {
    /// The next block's output; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Answer>, EngineError> {
        if self.finished {
            return Ok(None);
        }
        // SAFETY: both handles are live, and `&mut` keeps fetches apart.
        let chunk = unsafe {
            (self.connection.api.stream_fetch)(self.connection.raw(), self.handle.as_ptr())
        };
        let chunk =
            Answer::checked(self.connection.api, chunk).inspect_err(|_| self.finished = true)?;
        self.finished = chunk.bytes().is_empty();
        Ok((!self.finished).then_some(chunk))
    }
}

impl Drop for ResultStream<'_> {
    fn drop(&mut self) {
        let api = self.connection.api;
        // SAFETY: cancelled only while it runs, destroyed here only.
        unsafe {
            if !self.finished {
                (api.stream_cancel)(self.connection.raw(), self.handle.as_ptr());
            }
            (api.destroy_result)(self.handle.as_ptr());
        }
    }
}

// === impl InsertStream ===

impl InsertStream<'_> {
    /// Hands over a piece of the data; waits while the engine is behind.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), EngineError> {
        // SAFETY: the engine copies the bytes before it returns.
        let state = unsafe {
            (self.connection.api.insert_append)(self.handle.as_ptr(), data.as_ptr(), data.len())
        };
        if state == 0 {
            return Ok(());
        }
        // The reason is known only once the engine's worker has been joined.
        Err(match self.finish() {
            Err(error) => error,
            Ok(_) => "the engine stopped taking data".to_owned(),
        })
    }

    /// Ends the data and waits until the rows are stored.
    pub(super) fn finish(&mut self) -> Result<Statistics, EngineError> {
        self.finished = true;
        // SAFETY: the handle is live; a second call is answered with an error.
        let result = unsafe { (self.connection.api.insert_done)(self.handle.as_ptr()) };
        Answer::checked(self.connection.api, result).map(|answer| answer.statistics())
    }

    fn error(&self) -> Option<EngineError> {
        // SAFETY: the handle is live, and the text belongs to it.
        text(unsafe { (self.connection.api.insert_error)(self.handle.as_ptr()) })
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        let api = self.connection.api;
        // SAFETY: an unfinished insert is abandoned, and every handle is destroyed here only.
        unsafe {
            if !self.finished {
                (api.insert_cancel)(self.handle.as_ptr());
            }
            (api.insert_destroy)(self.handle.as_ptr());
        }
    }
}

/// Copies a C string that may be null.
fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the library's texts end in NUL.
    Some(
        unsafe { CStr::from_ptr(pointer) }
            .to_string_lossy()
            .into_owned(),
    )
}

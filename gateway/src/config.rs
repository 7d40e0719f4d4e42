//! What an operator sets: flags with environment twins, and the key rings in files. The only reader of either.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum};
use events_schema::{
    address::Address,
    keyring::{InvalidKeyRing, KeyRing},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::{
    health::circuit::Tolerance,
    nats::{self, NatsError},
    server::{
        Bounds, Door,
        tls::{Certificate, CertificateError, CertificateFiles},
    },
    trace::{context::Sampler, export::Collector},
    trust::{Trust, TrustArgs},
    upstream::connect::PlainOrigin,
};

/// Sluice's gateway: OpenAI's API in front of providers, all decisions in memory.
#[derive(Debug, Clone, Parser)]
#[command(name = "sluice-gateway", version)]
pub struct Config {
    /// Where to listen for requests.
    #[arg(long, env = "SLUICE_LISTEN", default_value = "127.0.0.1:7800")]
    pub listen: SocketAddr,
    /// The certificate that callers are shown, PEM, with its chain: with it, the port speaks TLS. Read again when it changes.
    #[arg(
        long,
        env = "SLUICE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// That certificate's private key, PEM.
    #[arg(
        long,
        env = "SLUICE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// The NATS server that has the snapshots and takes the request records: nats://[user:password@]host:port, or
    /// tls://… for an encrypted connection.
    #[arg(
        long,
        env = "SLUICE_NATS_URL",
        default_value = "nats://127.0.0.1:7702",
        hide_env_values = true
    )]
    pub nats_url: String,
    /// Whom to trust, at NATS and at providers.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The folder for the view, the spool and this gateway's identity.
    #[arg(long, env = "SLUICE_DATA_DIR")]
    pub data_dir: PathBuf,
    /// The folder with api-key-pepper.json, snapshot-mac.json and sealing-private.json.
    #[arg(long, env = "SLUICE_SECRETS_DIR")]
    pub secrets_dir: PathBuf,
    /// Where this gateway runs, as you call it.
    #[arg(long, env = "SLUICE_REGION", default_value = "default")]
    pub region: String,
    /// There is no other gateway: all of every limit is this one's, and nobody is told what it counts. Without it, gateways
    /// share limits, as the projections deal them out.
    #[arg(long, env = "SLUICE_ALONE")]
    pub alone: bool,
    /// After how many failures in a row a target of virtual models is left alone for a while: others are preferred.
    #[arg(long, env = "SLUICE_CIRCUIT_FAILURES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub circuit_failures: u32,
    /// For how long, in milliseconds; twice as long each time that it fails again, up to 32 times.
    #[arg(long, env = "SLUICE_CIRCUIT_OPEN_MS", default_value_t = 10_000)]
    pub circuit_open_ms: u64,
    /// How many threads serve requests; 0: one for each core.
    #[arg(long, env = "SLUICE_WORKER_THREADS", default_value_t = 0)]
    pub worker_threads: usize,
    /// How old a view on disk may be to be served when the stream is away, in seconds.
    #[arg(long, env = "SLUICE_VIEW_MAX_AGE_SECONDS", default_value_t = 7 * 24 * 3600)]
    pub view_max_age_seconds: u64,
    /// How long to wait for a connection to a provider, in milliseconds.
    #[arg(long, env = "SLUICE_CONNECT_TIMEOUT_MS", default_value_t = 5_000)]
    pub connect_timeout_ms: u64,
    /// How long to wait for a provider's response head, in milliseconds.
    #[arg(long, env = "SLUICE_RESPONSE_TIMEOUT_MS", default_value_t = 300_000)]
    pub response_timeout_ms: u64,
    /// How long a provider's answer may pause, in milliseconds.
    #[arg(long, env = "SLUICE_IDLE_TIMEOUT_MS", default_value_t = 120_000)]
    pub idle_timeout_ms: u64,
    /// How long a connection of HTTP/2 to a provider may bring nothing while requests are under way, in milliseconds; then the
    /// provider is asked whether it is there, and has as long again to say so.
    #[arg(long, env = "SLUICE_UPSTREAM_PING_MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub upstream_ping_ms: u64,
    /// Origins of providers without TLS that speak HTTP/2, as http://host:port, separated by commas. All others without TLS
    /// are spoken to in HTTP/1.1; under TLS the provider chooses.
    #[arg(
        long,
        env = "SLUICE_UPSTREAM_HTTP2_PLAIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub upstream_http2_plain: Vec<PlainOrigin>,
    /// Do not offer HTTP/2 to providers under TLS: for one, or a proxy before it, that chooses it and does not bear it.
    #[arg(long, env = "SLUICE_UPSTREAM_HTTP1_ONLY")]
    pub upstream_http1_only: bool,
    /// How long a caller may take nothing of its answer, in milliseconds; then its connection is closed, or over HTTP/2 the
    /// request ended.
    #[arg(long, env = "SLUICE_WRITE_TIMEOUT_MS", default_value_t = 60_000)]
    pub write_timeout_ms: u64,
    /// How long a caller's connection may be idle, and a request's head may take to come, in milliseconds; then it is closed.
    #[arg(long, env = "SLUICE_CALLER_IDLE_MS", default_value_t = 75_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub caller_idle_ms: u64,
    /// How long a request's body may pause, in milliseconds.
    #[arg(long, env = "SLUICE_BODY_PAUSE_TIMEOUT_MS", default_value_t = 30_000)]
    pub body_pause_timeout_ms: u64,
    /// How long all of a request's body may take, in milliseconds.
    #[arg(long, env = "SLUICE_BODY_TIMEOUT_MS", default_value_t = 300_000)]
    pub body_timeout_ms: u64,
    /// How many connections callers may have; more wait to be accepted.
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", default_value_t = 16_384)]
    pub max_connections: usize,
    /// How many requests may be under way at once; more are refused with 503.
    #[arg(long, env = "SLUICE_MAX_REQUESTS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests: u32,
    /// How many requests of one key may be under way at once; more are refused with 429.
    #[arg(long, env = "SLUICE_MAX_REQUESTS_PER_KEY", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests_per_key: u32,
    /// How many bytes the bodies of requests under way may have together; beyond that, large ones are refused.
    #[arg(long, env = "SLUICE_MAX_HELD_BODY_BYTES", default_value_t = 1 << 30)]
    pub max_held_body_bytes: usize,
    /// How long to go on as before after SIGTERM, but for `/readyz`, in milliseconds: for load balancers to notice.
    #[arg(long, env = "SLUICE_LAME_DUCK_MS", default_value_t = 0)]
    pub lame_duck_ms: u64,
    /// How long requests under way may go on after that, in milliseconds; a second signal ends it.
    #[arg(long, env = "SLUICE_DRAIN_TIMEOUT_MS", default_value_t = 25_000)]
    pub drain_timeout_ms: u64,
    /// How many bytes of request records may wait on disk; the oldest are dropped beyond that, and counted.
    #[arg(long, env = "SLUICE_SPOOL_MAX_BYTES", default_value_t = 1 << 30)]
    pub spool_max_bytes: u64,
    /// The collector of OpenTelemetry traces: http:// or https://host[:port]; spans go to /v1/traces there, over OTLP.
    #[arg(long, env = "SLUICE_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Headers for the collector, a line of `name: value` each, in a file that not everyone on this machine may read.
    #[arg(
        long,
        env = "SLUICE_OTLP_HEADERS_FILE",
        value_name = "FILE",
        requires = "otlp_endpoint"
    )]
    pub otlp_headers_file: Option<PathBuf>,
    /// Which part of the requests is told to the collector that belong to no trace yet, from 0 to 1. Others are told when
    /// their caller's span is recorded.
    #[arg(long, env = "SLUICE_OTLP_SAMPLE_RATIO", default_value_t = 1.0, value_parser = ratio)]
    pub otlp_sample_ratio: f64,
    /// How long the collector may take to answer, in milliseconds.
    #[arg(long, env = "SLUICE_OTLP_TIMEOUT_MS", default_value_t = 10_000)]
    pub otlp_timeout_ms: u64,
    /// How many spans may wait for the collector; more are dropped, and counted.
    #[arg(long, env = "SLUICE_OTLP_MAX_WAITING_SPANS", default_value_t = 8_192)]
    pub otlp_max_waiting_spans: usize,
    /// How to write the log.
    #[arg(long, env = "SLUICE_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What to log, as `level` or `target=level,…`.
    #[arg(long, env = "SLUICE_LOG", default_value = "info")]
    pub log: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Config {
    /// How many threads serve requests.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self.worker_threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            some => some,
        }
    }

    /// The NATS server.
    ///
    /// # Errors
    /// When its URL is none.
    pub fn nats(&self, trust: &Trust) -> Result<nats::Server, NatsError> {
        nats::Server::new(&self.nats_url, trust.clone())
    }

    /// How old a view on disk may be to be served when the stream is away.
    #[must_use]
    pub const fn view_max_age(&self) -> Duration {
        Duration::from_secs(self.view_max_age_seconds)
    }

    /// How callers come in.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn door(&self) -> Result<Door, CertificateError> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        let files = files.map(|(certificate, key)| CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        });
        Ok(Door {
            connections: self.max_connections,
            bounds: Bounds {
                write: Duration::from_millis(self.write_timeout_ms),
                idle: Duration::from_millis(self.caller_idle_ms),
            },
            certificate: files.map(Certificate::read).transpose()?,
        })
    }

    /// How long to go on as before after SIGTERM, but for `/readyz`.
    #[must_use]
    pub const fn lame_duck(&self) -> Duration {
        Duration::from_millis(self.lame_duck_ms)
    }

    /// When targets are left alone.
    #[must_use]
    pub const fn tolerance(&self) -> Tolerance {
        Tolerance {
            failures: self.circuit_failures,
            open: Duration::from_millis(self.circuit_open_ms),
        }
    }

    /// Which requests without a trace of their own the collector is told of; `None`: there is none.
    #[must_use]
    pub fn sampler(&self) -> Option<Sampler> {
        let is_there = self.otlp_endpoint.is_some();
        is_there.then(|| Sampler::of_ratio(self.otlp_sample_ratio))
    }

    /// The collector of traces; `None`: there is none.
    ///
    /// # Errors
    /// When its address cannot be used, or its headers cannot be read.
    pub fn collector(&self) -> Result<Option<Collector>, CollectorError> {
        let Some(endpoint) = &self.otlp_endpoint else {
            return Ok(None);
        };
        let headers = match &self.otlp_headers_file {
            Some(file) => read_headers(file)?,
            None => HeaderMap::new(),
        };
        let address: Address = endpoint.parse().map_err(|_| CollectorError::Address)?;
        if !headers.is_empty() && address.is_readable_on_the_way() {
            tracing::warn!(collector = %address, "the headers for the collector can be read on the way there: use https://");
        }
        Ok(Some(Collector {
            endpoint: traces_at(endpoint)?,
            headers,
            patience: Duration::from_millis(self.otlp_timeout_ms),
            most_waiting: self.otlp_max_waiting_spans,
        }))
    }

    /// How long requests under way may go on after SIGTERM.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

/// A part, from 0 to 1.
fn ratio(text: &str) -> Result<f64, &'static str> {
    let ratio = text.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or("it must be a number from 0 to 1")
}

/// Why the collector of traces cannot be used. Never quotes its headers.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The address is none.
    #[error(
        "the collector's address is not understood: http:// or https://host[:port][/path]; secrets belong into the \
         headers' file"
    )]
    Address,
    /// The file of headers cannot be read.
    #[error("reading the collector's headers in {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("line {line} of {path} is no header: name: value")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// Where a collector takes spans: OTLP's path behind that of its address.
fn traces_at(endpoint: &str) -> Result<Uri, CollectorError> {
    let base = endpoint.trim_end_matches('/');
    let uri: Uri = format!("{base}/v1/traces")
        .parse()
        .map_err(|_| CollectorError::Address)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let says_who = uri.authority().is_none_or(|it| it.as_str().contains('@'));
    if !is_http || says_who || uri.query().is_some() {
        return Err(CollectorError::Address);
    }
    Ok(uri)
}

fn read_headers(path: &Path) -> Result<HeaderMap, CollectorError> {
    let text = read_closed(path).map_err(|source| CollectorError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = header(line).ok_or_else(|| CollectorError::Line {
            path: path.to_owned(),
            line: at + 1,
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

/// The key rings that a gateway needs.
#[derive(Clone)]
pub struct Secrets {
    /// Peppers of API keys' hashes.
    pub pepper: KeyRing,
    /// MAC keys of snapshots.
    pub snapshot_mac: KeyRing,
    /// X25519 private keys to which credentials are sealed.
    pub sealing: KeyRing,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// Why a key ring cannot be had. Never quotes what it holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read.
    #[error("reading the key ring {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no key ring.
    #[error("the file {path} is no key ring")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: InvalidKeyRing,
    },
}

impl Secrets {
    /// Reads the rings from the folder that the configuration names.
    ///
    /// # Errors
    /// When a file is missing or no key ring.
    pub fn read(config: &Config) -> Result<Self, SecretsError> {
        let ring = |name: &str| {
            let path = config.secrets_dir.join(name);
            let text = read_closed(&path).map_err(|source| SecretsError::Read {
                path: path.clone(),
                source,
            })?;
            KeyRing::parse(&text).map_err(|source| SecretsError::Parse { path, source })
        };
        Ok(Self {
            pepper: ring("api-key-pepper.json")?,
            snapshot_mac: ring("snapshot-mac.json")?,
            sealing: ring("sealing-private.json")?,
        })
    }
}

/// A file's text, unless everyone on this machine may read or change it.
fn read_closed(path: &Path) -> io::Result<String> {
    const OTHERS: u32 = 0o007;
    if fs::metadata(path)?.permissions().mode() & OTHERS != 0 {
        let open = "everyone on this machine may use it: take that away (chmod o-rwx)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, open));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_behind_the_collectors_address() {
        let check = |endpoint: &str, expected: Option<&str>| {
            let told = traces_at(endpoint).map(|it| it.to_string());
            assert_eq!(told.ok().as_deref(), expected, "{endpoint}");
        };
        check("http://a:4318", Some("http://a:4318/v1/traces"));
        check("https://a/", Some("https://a/v1/traces"));
        check("https://a/otlp", Some("https://a/otlp/v1/traces"));
        check("a:4318", None);
        check("grpc://a:4317", None);
        check("http://me:secret@a", None);
        check("https://a/?key=secret", None);
        check("", None);
    }

    #[test]
    fn headers_are_read_from_a_file_that_not_everyone_may_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("headers");
        let read = |text: &str, mode| {
            fs::write(&file, text).expect("writable");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("it is ours");
            read_headers(&file).map_err(|error| error.to_string())
        };
        let good = "# who we are\nauthorization: Bearer a:b\n\n x-tenant : one \n";
        let headers = read(good, 0o600).expect("headers");
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(headers["x-tenant"], "one");
        let open = read(good, 0o644).expect_err("everyone may read it");
        assert!(open.contains("reading the collector's headers"), "{open}");
        for secret in ["a: b\ns3cret", "a: b\ns3 cret: c", "a: b\nc: s3cret\u{7f}"] {
            let wrong = read(secret, 0o600).expect_err("no header");
            assert!(wrong.contains("line 2") && !wrong.contains("s3"), "{wrong}");
        }
    }

    #[test]
    fn a_ratio_is_a_part() {
        for (text, expected) in [("0", Some(0.0)), ("0.25", Some(0.25)), ("1", Some(1.0))] {
            assert_eq!(ratio(text).ok(), expected, "{text}");
        }
        for text in ["-0.1", "1.1", "NaN", "all", ""] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}

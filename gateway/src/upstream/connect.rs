//! Makes connections to providers: TCP without delay, and TLS with the authorities that this gateway trusts.
//!
//! Under TLS, HTTP/2 and HTTP/1.1 are offered and the provider chooses (ALPN). In plain text nobody can choose: HTTP/2 is
//! spoken where an operator says so, and HTTP/1.1 everywhere else.

use std::{
    cell::OnceCell,
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use events_schema::names::{BaseUrl, InvalidName};
use http::Uri;
use hyper::service::Service;
use hyper_rustls::HttpsConnector;
use hyper_util::{client::legacy::connect, service::TowerToHyperService};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::{
    Patience,
    addresses::{Resolver, Scope, is_not_allowed},
    connection::Connection,
    http2::link::Link,
    transport::Transport,
};
use crate::{failure::UpstreamFailure, metrics::WorkerMetrics, trust::Trust};

type HttpConnector = connect::HttpConnector<Resolver>;
type Https = TowerToHyperService<HttpsConnector<HttpConnector>>;

/// What is offered under TLS, the preferred first.
static OFFERED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connection that was made.
pub enum Connected {
    /// One that speaks HTTP/1.1.
    Http1(Connection),
    /// One that speaks HTTP/2.
    Http2(Link),
}

/// The origin of a provider without TLS: `http://`, a host, and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainOrigin(String);

/// Not a [`PlainOrigin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// It is no URL of a provider at all.
    #[error(transparent)]
    Url(#[from] InvalidName),
    /// It has a path, or TLS.
    #[error(
        "this is http://, a host and perhaps a port, without a path; under TLS providers say themselves what they speak"
    )]
    NotPlain,
}

impl FromStr for PlainOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url = BaseUrl::from_str(text)?;
        let origin = url.origin();
        if origin.len() == url.as_str().len() && origin.starts_with("http://") {
            Ok(Self(origin))
        } else {
            Err(InvalidOrigin::NotPlain)
        }
    }
}

impl PlainOrigin {
    /// Whether it is this one, which may end with a slash.
    fn is(&self, origin: &Uri) -> bool {
        let authority = self.0.strip_prefix("http://");
        let other = origin.authority().map(http::uri::Authority::as_str);
        let same = authority
            .zip(other)
            .is_some_and(|(own, other)| own.eq_ignore_ascii_case(other));
        same && origin.scheme_str() == Some("http")
    }
}

/// Makes a thread's connections.
pub struct Connector {
    public: Way,
    anywhere: Way,
    patience: Patience,
    authorities: Arc<Authorities>,
    plain_http2: Arc<[PlainOrigin]>,
    metrics: Arc<WorkerMetrics>,
}

/// Connections to addresses within one [`Scope`].
struct Way {
    http: HttpConnector,
    plain: Https,
    tls: OnceCell<Option<Https>>,
}

/// Whom to trust at providers. Reading that takes milliseconds: done once, when the first account asks for TLS.
pub struct Authorities {
    trust: Trust,
    /// What is offered to providers, the preferred first.
    offered: &'static [&'static [u8]],
    config: OnceLock<Option<Arc<ClientConfig>>>,
}

impl Authorities {
    /// Those of an operator, not yet read; `http1_only`: providers are not offered HTTP/2.
    #[must_use]
    pub fn of(trust: Trust, http1_only: bool) -> Self {
        Self {
            trust,
            offered: if http1_only { &OFFERED[1..] } else { &OFFERED },
            config: OnceLock::new(),
        }
    }

    /// The TLS configuration; `None`: nobody can be trusted.
    fn config(&self) -> Option<&Arc<ClientConfig>> {
        let read = || match self.trust.config() {
            Ok(mut config) => {
                config.alpn_protocols = self.offered.iter().map(|it| it.to_vec()).collect();
                Some(Arc::new(config))
            }
            Err(error) => {
                tracing::error!(%error, "https providers cannot be reached");
                None
            }
        };
        self.config.get_or_init(read).as_ref()
    }
}

impl Connector {
    /// `patience.connect`: for all addresses of a host together, so that one that does not answer leaves time for the
    /// others. HTTP/2 without TLS is spoken at `plain_http2`. Each connection is counted.
    #[must_use]
    pub fn new(
        patience: Patience,
        authorities: Arc<Authorities>,
        plain_http2: Arc<[PlainOrigin]>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self {
            public: Way::within(Scope::Public, patience.connect),
            anywhere: Way::within(Scope::Anywhere, patience.connect),
            patience,
            authorities,
            plain_http2,
            metrics,
        }
    }

    /// How long a connection may take.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.patience.connect
    }

    /// What is spoken at an origin; `None`: its provider chooses.
    #[must_use]
    pub fn known(&self, origin: &Uri) -> Option<Protocol> {
        if origin.scheme_str() != Some("http") {
            None
        } else if self.plain_http2.iter().any(|it| it.is(origin)) {
            Some(Protocol::Http2)
        } else {
            Some(Protocol::Http1)
        }
    }
}

impl Way {
    fn within(scope: Scope, wait: Duration) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver::within(scope));
        http.set_nodelay(true);
        http.set_connect_timeout(Some(wait));
        http.enforce_http(false);
        let no_roots = ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Self {
            plain: over(Arc::new(no_roots), http.clone()),
            http,
            tls: OnceCell::new(),
        }
    }

    fn for_scheme(&self, origin: &Uri, authorities: &Authorities) -> Option<&Https> {
        if origin.scheme_str() == Some("http") {
            return Some(&self.plain);
        }
        let with_tls = || {
            let config = authorities.config()?;
            Some(over(Arc::clone(config), self.http.clone()))
        };
        self.tls.get_or_init(with_tls).as_ref()
    }
}

impl Connector {
    /// Connects to an origin, at an address within `scope`.
    ///
    /// # Errors
    /// [`UpstreamFailure::Connect`]; [`UpstreamFailure::Address`] when it has no such address;
    /// [`UpstreamFailure::Timeout`] when it takes too long.
    pub async fn connect(&self, origin: &Uri, scope: Scope) -> Result<Connected, UpstreamFailure> {
        // The connector asks no resolver for what is an address already.
        scope
            .check_literal(origin)
            .map_err(|_| UpstreamFailure::Address)?;
        self.metrics.upstream_connections.add(1);
        timeout(self.patience.connect, self.make(origin, scope))
            .await
            .map_err(|_| UpstreamFailure::Timeout)?
    }

    async fn make(&self, origin: &Uri, scope: Scope) -> Result<Connected, UpstreamFailure> {
        let way = match scope {
            Scope::Public => &self.public,
            Scope::Anywhere => &self.anywhere,
        };
        let connector = way
            .for_scheme(origin, &self.authorities)
            .ok_or(UpstreamFailure::Connect)?;
        let stream = connector.call(origin.clone()).await.map_err(|error| {
            tracing::debug!(%origin, %error, "no connection to a provider");
            if is_not_allowed(&*error) {
                UpstreamFailure::Address
            } else {
                UpstreamFailure::Connect
            }
        })?;
        let transport = Transport::from(stream);
        let is_http2 = match self.known(origin) {
            Some(protocol) => protocol == Protocol::Http2,
            None => transport.chose_http2(),
        };
        if !is_http2 {
            return Ok(Connected::Http1(Connection::over(transport)));
        }
        let link = Link::over(transport, self.patience.quiet).await;
        link.map(Connected::Http2).map_err(|error| {
            tracing::debug!(%origin, %error, "HTTP/2 cannot be begun with a provider");
            UpstreamFailure::Connect
        })
    }
}

fn over(config: Arc<ClientConfig>, http: HttpConnector) -> Https {
    TowerToHyperService::new(HttpsConnector::from((http, config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_without_tls_is_a_host_and_perhaps_a_port() {
        let check = |text: &str, is_one: bool| {
            assert_eq!(text.parse::<PlainOrigin>().is_ok(), is_one, "{text}");
        };
        check("http://vllm", true);
        check("http://10.0.0.7:8000", true);
        check("https://api.example.com", false);
        check("http://vllm/v1", false);
        check("vllm:8000", false);
    }

    #[test]
    fn origins_are_the_same_when_scheme_host_and_port_are() {
        let own = PlainOrigin::from_str("http://Vllm:8000").expect("an origin");
        let check = |other: &'static str, same: bool| {
            assert_eq!(own.is(&Uri::from_static(other)), same, "{other}");
        };
        check("http://vllm:8000/", true);
        check("https://vllm:8000/", false);
        check("http://vllm:8001/", false);
        check("http://vllm/", false);
    }
}

//! Makes connections to providers: TCP without delay, and TLS with the authorities that this gateway trusts.

use std::{
    cell::OnceCell,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Uri;
use hyper::service::Service;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::connect, service::TowerToHyperService};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::{
    addresses::{Resolver, Scope, is_not_allowed},
    connection::Connection,
};
use crate::{failure::UpstreamFailure, trust::Trust};

type HttpConnector = connect::HttpConnector<Resolver>;
type Https = TowerToHyperService<HttpsConnector<HttpConnector>>;

/// Makes a thread's connections.
pub struct Connector {
    public: Way,
    anywhere: Way,
    wait: Duration,
    authorities: Arc<Authorities>,
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
    config: OnceLock<Option<Arc<ClientConfig>>>,
}

impl Authorities {
    /// Those of an operator, not yet read.
    #[must_use]
    pub const fn of(trust: Trust) -> Self {
        Self {
            trust,
            config: OnceLock::new(),
        }
    }

    /// The TLS configuration; `None`: nobody can be trusted.
    fn config(&self) -> Option<&Arc<ClientConfig>> {
        let read = || match self.trust.config() {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                tracing::error!(%error, "https providers cannot be reached");
                None
            }
        };
        self.config.get_or_init(read).as_ref()
    }
}

impl Connector {
    /// `wait`: for all addresses of a host together, so that one that does not answer leaves time for the others.
    #[must_use]
    pub fn new(wait: Duration, authorities: Arc<Authorities>) -> Self {
        Self {
            public: Way::within(Scope::Public, wait),
            anywhere: Way::within(Scope::Anywhere, wait),
            wait,
            authorities,
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
            plain: over(no_roots, http.clone()),
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
            Some(over((**config).clone(), self.http.clone()))
        };
        self.tls.get_or_init(with_tls).as_ref()
    }
}

fn over(config: ClientConfig, http: HttpConnector) -> Https {
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    TowerToHyperService::new(https)
}

impl Connector {
    /// Connects to an origin, at an address within `scope`.
    ///
    /// # Errors
    /// [`UpstreamFailure::Connect`]; [`UpstreamFailure::Address`] when it has no such address;
    /// [`UpstreamFailure::Timeout`] when it takes too long.
    pub async fn connect(&self, origin: &Uri, scope: Scope) -> Result<Connection, UpstreamFailure> {
        // The connector asks no resolver for what is an address already.
        scope
            .check_literal(origin)
            .map_err(|_| UpstreamFailure::Address)?;
        let way = match scope {
            Scope::Public => &self.public,
            Scope::Anywhere => &self.anywhere,
        };
        let connector = way
            .for_scheme(origin, &self.authorities)
            .ok_or(UpstreamFailure::Connect)?;
        let connecting = async {
            let stream = connector.call(origin.clone()).await.map_err(|error| {
                tracing::debug!(%origin, %error, "no connection to a provider");
                if is_not_allowed(&*error) {
                    UpstreamFailure::Address
                } else {
                    UpstreamFailure::Connect
                }
            })?;
            Ok(Connection::over(stream))
        };
        timeout(self.wait, connecting)
            .await
            .map_err(|_| UpstreamFailure::Timeout)?
    }
}

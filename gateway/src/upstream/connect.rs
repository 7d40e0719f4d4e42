//! Makes connections to providers: TCP without delay, and TLS with the authorities that this gateway trusts.

use std::{
    cell::OnceCell,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Uri;
use hyper::service::Service;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::connect::HttpConnector, service::TowerToHyperService};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::connection::Connection;
use crate::{failure::UpstreamFailure, trust::Trust};

type Https = TowerToHyperService<HttpsConnector<HttpConnector>>;

/// Makes a thread's connections.
pub struct Connector {
    http: HttpConnector,
    plain: Https,
    wait: Duration,
    tls: OnceCell<Option<Https>>,
    authorities: Arc<Authorities>,
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
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(wait));
        http.enforce_http(false);
        let no_roots = ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Self {
            plain: over(no_roots, http.clone()),
            http,
            wait,
            tls: OnceCell::new(),
            authorities,
        }
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
    /// Connects to an origin.
    ///
    /// # Errors
    /// [`UpstreamFailure::Connect`], and [`UpstreamFailure::Timeout`] when it takes too long.
    pub async fn connect(&self, origin: &Uri) -> Result<Connection, UpstreamFailure> {
        let connector = self.for_scheme(origin).ok_or(UpstreamFailure::Connect)?;
        let connecting = async {
            let stream = connector.call(origin.clone()).await.map_err(|error| {
                tracing::debug!(%origin, %error, "no connection to a provider");
                UpstreamFailure::Connect
            })?;
            Ok(Connection::over(stream))
        };
        timeout(self.wait, connecting)
            .await
            .map_err(|_| UpstreamFailure::Timeout)?
    }

    fn for_scheme(&self, origin: &Uri) -> Option<&Https> {
        if origin.scheme_str() == Some("http") {
            return Some(&self.plain);
        }
        let with_tls = || {
            let config = self.authorities.config()?;
            Some(over((**config).clone(), self.http.clone()))
        };
        self.tls.get_or_init(with_tls).as_ref()
    }
}

//! Makes connections to providers: TCP without delay, and TLS with the system's roots.

use std::{
    cell::OnceCell,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::Uri;
use hyper::service::Service;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy::connect::HttpConnector, service::TowerToHyperService};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::connection::Connection;
use crate::failure::UpstreamFailure;

type Https = TowerToHyperService<HttpsConnector<HttpConnector>>;

/// Makes a thread's connections.
pub struct Connector {
    http: HttpConnector,
    plain: Https,
    wait: Duration,
    /// Reading the system's roots takes milliseconds: done once, when the first account asks for TLS.
    tls: OnceCell<Option<Https>>,
}

impl Connector {
    /// `wait`: for all addresses of a host together, so that one that does not answer leaves time for the others.
    #[must_use]
    pub fn new(wait: Duration) -> Self {
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

/// The TLS configuration with the system's roots; `None`: it has none.
fn with_system_roots() -> Option<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let read = || match ClientConfig::builder().with_native_roots() {
        Ok(config) => Some(Arc::new(config.with_no_client_auth())),
        Err(error) => {
            tracing::error!(%error, "the system has no root certificates: https providers cannot be reached");
            None
        }
    };
    CONFIG.get_or_init(read).clone()
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
        let with_tls =
            || with_system_roots().map(|config| over((*config).clone(), self.http.clone()));
        self.tls.get_or_init(with_tls).as_ref()
    }
}

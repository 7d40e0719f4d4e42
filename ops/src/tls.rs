//! TLS of this tool's own servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::failure::{Doing, Outcome};

/// A server's certificate, and the key that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct ServerTls {
    /// Speak TLS, with the certificates in this PEM file: the server's own first.
    #[arg(
        long = "tls-cert",
        value_name = "FILE",
        requires = "tls_key",
        env = "SLUICE_TLS_CERT"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(
        long = "tls-key",
        value_name = "FILE",
        requires = "tls_cert",
        env = "SLUICE_TLS_KEY"
    )]
    pub(crate) tls_key: Option<PathBuf>,
}

// === impl ServerTls ===

impl ServerTls {
    /// What accepts connections; `None`: in plain text.
    pub(crate) fn acceptor(&self) -> Outcome<Option<TlsAcceptor>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => acceptor(certificate, key).map(Some),
            _ => Ok(None),
        }
    }
}

fn acceptor(certificate: &Path, key: &Path) -> Outcome<TlsAcceptor> {
    let reading = |file: &Path| format!("reading {}", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .doing(|| reading(certificate))?
        .collect::<Result<Vec<_>, _>>()
        .doing(|| reading(certificate))?;
    let secret = PrivateKeyDer::from_pem_file(key).doing(|| reading(key))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .doing(|| {
            let (certificate, key) = (certificate.display(), key.display());
            format!("putting the certificate {certificate} and the key {key} together")
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

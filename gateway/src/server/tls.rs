//! TLS for callers: one certificate, read again when its files change, and HTTP/2 or HTTP/1.1 as the caller asks (ALPN).

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::trust::{self, TrustError};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The protocols that are spoken, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate and its key lie, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, with the chain that leads to an authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be shown to callers.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read as PEM, or the certificate's has none.
    #[error(transparent)]
    Read(#[from] TrustError),
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("the certificate {certificate} and the key {key} cannot be used together")]
    Unusable {
        /// Which certificate.
        certificate: PathBuf,
        /// Which key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate that is shown, and where it comes from.
#[derive(Clone)]
pub struct Certificate {
    files: CertificateFiles,
    /// When the files had last changed as they were read.
    read_at: [Option<SystemTime>; 2],
    shown: Arc<Shown>,
    /// For handshakes.
    pub config: Arc<ServerConfig>,
}

/// Gives each handshake the certificate of the moment.
struct Shown(ArcSwap<CertifiedKey>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read(files: CertificateFiles) -> Result<Self, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let read_at = files.changed_at();
        let key = read(&files, &provider)?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(key)));
        let unusable = |source| CertificateError::Unusable {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            files,
            read_at,
            shown,
            config: Arc::new(config),
        })
    }

    /// Shows the certificate that lies in the files whenever they change, for ever. One that cannot be used leaves the one
    /// before, and is looked at again when it changes once more.
    pub async fn follow(&self) {
        let provider = rustls::crypto::ring::default_provider();
        let mut seen = self.read_at;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let now = self.files.changed_at();
            if now == seen {
                continue;
            }
            seen = now;
            match read(&self.files, &provider) {
                Ok(key) => {
                    self.shown.0.store(Arc::new(key));
                    tracing::info!("callers are shown another certificate");
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "callers are shown the certificate from before: the new one cannot be used"
                ),
            }
        }
    }
}

impl CertificateFiles {
    /// When the files last changed, as far as the system knows.
    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let changed = |path: &Path| -> io::Result<SystemTime> { path.metadata()?.modified() };
        [&self.certificate, &self.key].map(|path| changed(path).ok())
    }
}

fn read(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let chain = trust::certificates(&files.certificate)?;
    let key = trust::private_key(&files.key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| CertificateError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}

//! The certificate that callers are shown where this service itself speaks TLS. It is read again when its files change.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What an operator says about this service's own certificate.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CertificateArgs {
    /// Speak TLS, with this certificate: PEM, with the chain that leads to an authority. It is read again when it changes.
    #[arg(
        long,
        global = true,
        env = "SLUICE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// That certificate's private key, PEM.
    #[arg(
        long,
        global = true,
        env = "SLUICE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
}

/// Where a certificate and its key lie.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the certificate {certificate} and the key {key} cannot be used")]
pub struct Unusable {
    certificate: PathBuf,
    key: PathBuf,
    source: io::Error,
}

/// The certificate that is shown, and where it comes from.
#[derive(Debug, Clone)]
pub struct Certificate {
    files: Files,
    /// When the files had last changed as they were read.
    read_at: [Option<SystemTime>; 2],
    /// For handshakes.
    pub config: RustlsConfig,
}

// === impl Certificate ===

impl Certificate {
    /// Reads it; `None`: this service is to speak plain HTTP.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn read(args: CertificateArgs) -> Result<Option<Self>, Unusable> {
        let (Some(certificate), Some(key)) = (args.tls_cert, args.tls_key) else {
            return Ok(None);
        };
        let files = Files { certificate, key };
        let read_at = files.changed_at();
        let config = RustlsConfig::from_pem_file(&files.certificate, &files.key)
            .await
            .map_err(|source| files.unusable(source))?;
        Ok(Some(Self {
            files,
            read_at,
            config,
        }))
    }

    /// Shows the certificate that lies in the files whenever they change, for ever. One that cannot be used leaves the one
    /// before, and is looked at again when it changes once more. Connections go on.
    pub async fn follow(self) {
        let Self {
            files,
            read_at: mut seen,
            config,
        } = self;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let now = files.changed_at();
            if now == seen {
                continue;
            }
            seen = now;
            let again = config.reload_from_pem_file(&files.certificate, &files.key);
            match again.await.map_err(|source| files.unusable(source)) {
                Ok(()) => tracing::info!("callers are shown another certificate"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "callers are shown the certificate from before: the new one cannot be used"
                ),
            }
        }
    }
}

// === impl Files ===

impl Files {
    /// When they last changed, as far as the system knows.
    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
        [changed(&self.certificate), changed(&self.key)]
    }

    fn unusable(&self, source: io::Error) -> Unusable {
        Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        }
    }
}

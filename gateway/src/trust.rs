//! Whom this service trusts when it connects over TLS: the system's certificate authorities, and those of `--ca-file`.
//!
//! There is no way to trust without looking.

use std::path::{Path, PathBuf};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

/// What an operator says about certificates.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TrustArgs {
    /// Certificate authorities to trust beside the system's, PEM: for every connection that this service makes.
    #[arg(long, env = "SLUICE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A certificate of this service's own, PEM, for a NATS server that asks for one.
    #[arg(
        long,
        env = "SLUICE_NATS_CLIENT_CERT",
        value_name = "FILE",
        requires = "nats_client_key"
    )]
    pub nats_client_cert: Option<PathBuf>,
    /// That certificate's private key, PEM.
    #[arg(
        long,
        env = "SLUICE_NATS_CLIENT_KEY",
        value_name = "FILE",
        requires = "nats_client_cert"
    )]
    pub nats_client_key: Option<PathBuf>,
}

/// Whom to trust.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    args: TrustArgs,
    own: Vec<CertificateDer<'static>>,
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read as PEM.
    #[error("reading {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file has no certificates.
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    /// What is in a file cannot be used.
    #[error("a certificate in {path} cannot be used")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// No authority is known.
    #[error(
        "no certificate authority is known: install the system's (on Debian: ca-certificates), or name a file with \
         --ca-file"
    )]
    Nobody,
}

// === impl Trust ===

impl Trust {
    /// Reads the file of authorities, if there is one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read(args: &TrustArgs) -> Result<Self, TrustError> {
        let own = match &args.ca_file {
            Some(file) => certificates(file)?,
            None => Vec::new(),
        };
        let trust = Self {
            args: args.clone(),
            own,
        };
        trust.add_own(&mut RootCertStore::empty())?;
        Ok(trust)
    }

    /// A configuration for connections of which the server alone shows a certificate. Reads the system's authorities, which
    /// takes milliseconds.
    ///
    /// # Errors
    /// When no authority is known.
    pub fn config(&self) -> Result<ClientConfig, TrustError> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots()?);
        Ok(builder.with_no_client_auth())
    }

    /// The same for NATS, which may ask for a certificate of ours. `None`: neither the address nor an operator asks for TLS.
    ///
    /// # Errors
    /// When no authority is known, or our certificate cannot be used.
    pub fn nats_config(&self, is_encrypted: bool) -> Result<Option<ClientConfig>, TrustError> {
        match (&self.args.nats_client_cert, &self.args.nats_client_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let secret = private_key(key)?;
                let builder = ClientConfig::builder().with_root_certificates(self.roots()?);
                let config = builder.with_client_auth_cert(chain, secret);
                config.map(Some).map_err(unusable(certificate))
            }
            _ if is_encrypted || self.args.ca_file.is_some() => self.config().map(Some),
            _ => Ok(None),
        }
    }

    fn roots(&self) -> Result<RootCertStore, TrustError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "some of the system's certificate authorities cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        self.add_own(&mut roots)?;
        if roots.is_empty() {
            return Err(TrustError::Nobody);
        }
        Ok(roots)
    }

    fn add_own(&self, roots: &mut RootCertStore) -> Result<(), TrustError> {
        let file = self.args.ca_file.as_deref().unwrap_or(Path::new(""));
        for certificate in &self.own {
            roots.add(certificate.clone()).map_err(unusable(file))?;
        }
        Ok(())
    }
}

/// The certificates in a PEM file; there is at least one.
///
/// # Errors
/// When it cannot be read, or has none.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(unreadable(file))?;
    if found.is_empty() {
        return Err(TrustError::Empty(file.to_owned()));
    }
    Ok(found)
}

/// The private key in a PEM file.
///
/// # Errors
/// When it cannot be read, or has none.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TrustError> {
    PrivateKeyDer::from_pem_file(file).map_err(unreadable(file))
}

fn unreadable(file: &Path) -> impl FnOnce(pem::Error) -> TrustError {
    let path = file.to_owned();
    move |source| TrustError::Read { path, source }
}

fn unusable(file: &Path) -> impl FnOnce(rustls::Error) -> TrustError {
    let path = file.to_owned();
    move |source| TrustError::Unusable { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_has_no_authority_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |text: Option<&str>| {
            let file = folder.path().join("ca.pem");
            match text {
                Some(text) => fs::write(&file, text).expect("it can be written"),
                None => fs::remove_file(&file).unwrap_or_default(),
            }
            let args = TrustArgs {
                ca_file: Some(file),
                ..TrustArgs::default()
            };
            Trust::read(&args)
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, wrong) in [
            (None, "reading"),
            (Some(""), "there is no certificate in"),
            (Some("-----BEGIN CERTIFICATE-----\nA"), "reading"),
            (Some(broken), "cannot be used"),
        ] {
            let said = read(text).expect_err("it has none");
            assert!(said.contains(wrong) && said.contains("ca.pem"), "{said}");
        }
    }
}

//! Whom this tool trusts when it connects over TLS: the system's certificate authorities, and those of a file.

use std::path::Path;
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::failure::{Doing, Failure, Outcome};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A TLS configuration that believes the system's authorities, and those in `ca_file`.
pub(crate) fn config(ca_file: Option<&Path>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        let doing = || format!("reading the certificate authorities in {}", file.display());
        let certificates = CertificateDer::pem_file_iter(file).doing(doing)?;
        let mut any = false;
        for certificate in certificates {
            roots.add(certificate.doing(doing)?).doing(doing)?;
            any = true;
        }
        if !any {
            return Err(Failure::new(format!("{}: there are none", doing())));
        }
    }
    if roots.is_empty() {
        return Err(Failure::new(
            "no certificate authority is known on this machine (on Debian: apt-get install ca-certificates)",
        ));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What connects to `url`; authorities are looked for only where it needs them.
pub(crate) fn connector(
    url: &str,
    ca_file: Option<&Path>,
) -> Outcome<HttpsConnector<HttpConnector>> {
    let config = if url.starts_with("https:") {
        config(ca_file)?
    } else {
        ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT_WITHIN));
    Ok(HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http))
}

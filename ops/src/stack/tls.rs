//! The certificates of a stack whose servers speak TLS: an authority of its own, and a certificate for each server.
//!
//! They are made once. The authority's key is thrown away: nobody can make another certificate with it.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::DataDir;
use super::postgres::UNPRIVILEGED;
use crate::failure::{Doing, Outcome};
use crate::paths;

/// The names by which a stack's servers are reached.
const NAMES: [&str; 1] = ["127.0.0.1"];

/// A server with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Nats,
    Postgres,
    Clickhouse,
    Gateway,
    Commands,
    Projections,
}

// === impl Server ===

impl Server {
    const ALL: [Self; 6] = [
        Self::Nats,
        Self::Postgres,
        Self::Clickhouse,
        Self::Gateway,
        Self::Commands,
        Self::Projections,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Postgres => "postgres",
            Self::Clickhouse => "clickhouse",
            Self::Gateway => "gateway",
            Self::Commands => "commands",
            Self::Projections => "projections",
        }
    }

    /// Its certificate, PEM.
    pub(crate) fn certificate(self, data: &DataDir) -> PathBuf {
        data.tls().join(format!("{}.pem", self.name()))
    }

    /// The certificate's key, PEM.
    pub(crate) fn key(self, data: &DataDir) -> PathBuf {
        data.tls().join(format!("{}.key", self.name()))
    }
}

/// Makes all of them, unless they are there. Where one is missing, as in a data folder of an earlier version, all are made
/// again, since nobody has the authority's key.
pub(crate) fn create_missing(data: &DataDir) -> Outcome {
    if Server::ALL.iter().all(|it| it.certificate(data).exists()) {
        return Ok(());
    }
    let draft = data.root().join("tls.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).doing(|| format!("removing {}", draft.display()))?;
    }
    fs::create_dir(&draft).doing(|| format!("making {}", draft.display()))?;
    let doing = || "making the stack's certificates".to_owned();
    let key = KeyPair::generate().doing(doing)?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let name = "the authority of a Sluice stack";
    authority.distinguished_name.push(DnType::CommonName, name);
    let certificate = authority.self_signed(&key).doing(doing)?;
    write(&draft.join("ca.pem"), &certificate.pem(), 0o644)?;
    let issuer = Issuer::new(authority, key);
    for server in Server::ALL {
        let key = KeyPair::generate().doing(doing)?;
        let mut params = CertificateParams::new(NAMES.map(str::to_owned)).doing(doing)?;
        params
            .distinguished_name
            .push(DnType::CommonName, server.name());
        let certificate = params.signed_by(&key, &issuer).doing(doing)?;
        let place = |end: &str| draft.join(format!("{}.{end}", server.name()));
        write(&place("pem"), &certificate.pem(), 0o644)?;
        write(&place("key"), &key.serialize_pem(), 0o600)?;
    }
    if paths::is_root() {
        // Postgres takes a key that it owns, and runs as somebody else.
        let key = draft.join("postgres.key");
        chown(&key, Some(UNPRIVILEGED), Some(UNPRIVILEGED))
            .doing(|| format!("giving {} to nobody", key.display()))?;
    }
    // Whoever may come over TLS alone.
    write(
        &draft.join("pg_hba.conf"),
        super::postgres::ACCESS_OVER_TLS,
        0o644,
    )?;
    if data.tls().exists() {
        let doing = || format!("removing {}", data.tls().display());
        fs::remove_dir_all(data.tls()).doing(doing)?;
    }
    fs::rename(&draft, data.tls()).doing(|| format!("moving it to {}", data.tls().display()))
}

fn write(file: &Path, text: &str, mode: u32) -> Outcome {
    let doing = || format!("writing {}", file.display());
    let mut open = fs::OpenOptions::new();
    let mut file = open
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .doing(doing)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).doing(doing)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_server_has_a_certificate_of_one_authority_and_a_key_that_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::locate(Some(folder.path())).unwrap();
        create_missing(&data).unwrap();
        let before = fs::read(data.tls().join("ca.pem")).unwrap();
        create_missing(&data).unwrap();
        assert_eq!(fs::read(data.tls().join("ca.pem")).unwrap(), before);
        for server in Server::ALL {
            let text = fs::read_to_string(server.certificate(&data)).unwrap();
            assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{text}");
            let meta = fs::metadata(server.key(&data)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        }
        let kept = fs::read_dir(data.tls()).unwrap().count();
        assert_eq!(kept, 2 + 2 * Server::ALL.len(), "no key of the authority");

        fs::remove_file(Server::Commands.certificate(&data)).unwrap();
        create_missing(&data).unwrap();
        assert!(Server::Commands.certificate(&data).exists());
        assert_ne!(fs::read(data.tls().join("ca.pem")).unwrap(), before);
    }
}

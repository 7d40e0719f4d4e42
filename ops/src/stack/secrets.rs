//! The secrets of a stack that `up` made: key rings, database passwords, the first operator.
//!
//! Each file is made once and never overwritten: losing the pepper or the sealing key would make
//! every API key and every stored credential useless.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hpke::{Kem, Serializable, kem::X25519HkdfSha256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::DataDir;
use crate::failure::{Doing, Failure, Outcome};

/// Key rings that hold nothing but one random key at first.
const PLAIN_RINGS: [&str; 3] = [
    "api-key-pepper.json",
    "snapshot-mac.json",
    "fingerprint.json",
];

/// Letters and digits that nobody mistakes for another.
const PASSWORD_ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789_";

/// 32 letters out of 32: 160 bits.
const PASSWORD_LENGTH: usize = 32;

/// The passwords of Postgres' roles.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PostgresPasswords {
    pub(crate) superuser_password: String,
    pub(crate) owner_password: String,
    pub(crate) service_password: String,
    pub(crate) reader_password: String,
}

/// The passwords of NATS' users.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NatsPasswords {
    pub(crate) admin: String,
    pub(crate) commands: String,
    pub(crate) projections: String,
    pub(crate) gateway: String,
}

/// The passwords of ClickHouse's users.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ClickhousePasswords {
    pub(crate) admin: String,
    pub(crate) commands: String,
    pub(crate) projections: String,
}

/// The first owner of the example organisation.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Operator {
    pub(crate) email: String,
    pub(crate) password: String,
}

/// A ready key of the example organisation and the virtual model that it may use.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ExampleKey {
    pub(crate) api_key: String,
    pub(crate) model: String,
}

/// Makes what is missing. Postgres' passwords are made with its data folder and only then.
pub(crate) fn create_missing(data: &DataDir) -> Outcome {
    let folder = data.secrets();
    for ring in PLAIN_RINGS {
        let key = random::<32>()?;
        write_once(&folder.join(ring), &ring_of(&key))?;
    }
    let (private, public) = X25519HkdfSha256::derive_keypair(&random::<32>()?);
    let private_file = folder.join("sealing-private.json");
    if write_once(&private_file, &ring_of(&private.to_bytes()))? {
        write_once(
            &folder.join("sealing-public.json"),
            &ring_of(&public.to_bytes()),
        )?;
    }
    let nats = NatsPasswords {
        admin: password()?,
        commands: password()?,
        projections: password()?,
        gateway: password()?,
    };
    write_once(&folder.join("nats.json"), &nats)?;
    let clickhouse = ClickhousePasswords {
        admin: password()?,
        commands: password()?,
        projections: password()?,
    };
    write_once(&folder.join("clickhouse.json"), &clickhouse)?;
    let operator = Operator {
        email: "owner@example.com".into(),
        password: password()?,
    };
    write_once(&folder.join("operator.json"), &operator)?;
    Ok(())
}

/// Postgres' passwords: read, or made when its data folder is still to be made.
pub(crate) fn postgres_passwords(data: &DataDir) -> Outcome<PostgresPasswords> {
    let file = data.secrets().join("postgres.json");
    if !data.postgres().exists() {
        write_once(
            &file,
            &PostgresPasswords {
                superuser_password: password()?,
                owner_password: password()?,
                service_password: password()?,
                reader_password: password()?,
            },
        )?;
    }
    read(&file)
}

/// The passwords of NATS' users.
pub(crate) fn nats_passwords(data: &DataDir) -> Outcome<NatsPasswords> {
    read(&data.secrets().join("nats.json"))
}

/// The passwords of ClickHouse's users.
pub(crate) fn clickhouse_passwords(data: &DataDir) -> Outcome<ClickhousePasswords> {
    read(&data.secrets().join("clickhouse.json"))
}

/// The first operator.
pub(crate) fn operator(data: &DataDir) -> Outcome<Operator> {
    read(&data.secrets().join("operator.json"))
}

/// The example key, once it has been issued.
pub(crate) fn example_key(data: &DataDir) -> Outcome<Option<ExampleKey>> {
    let file = data.secrets().join("example-key.json");
    if file.exists() {
        read(&file).map(Some)
    } else {
        Ok(None)
    }
}

/// Keeps the example key, in place of one that no longer works.
pub(crate) fn keep_example_key(data: &DataDir, key: &ExampleKey) -> Outcome {
    let file = data.secrets().join("example-key.json");
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).doing(|| format!("replacing {}", file.display()));
        }
        _ => {}
    }
    write_once(&file, key).map(|_| ())
}

fn ring_of(key: &[u8]) -> serde_json::Value {
    json!({ "active": "k1", "keys": { "k1": hex::encode(key) } })
}

/// Random bytes of the system's.
pub(crate) fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).doing(|| "asking the system for random bytes".into())?;
    Ok(bytes)
}

fn password() -> Outcome<String> {
    let draws = random::<PASSWORD_LENGTH>()?;
    Ok(draws
        .iter()
        .map(|draw| char::from(PASSWORD_ALPHABET[usize::from(draw % 32)]))
        .collect())
}

/// Writes the file unless it exists; says whether it did. It is complete or absent: the text goes to
/// another name first.
fn write_once(path: &Path, value: &impl Serialize) -> Outcome<bool> {
    if path.exists() {
        return Ok(false);
    }
    let doing = || format!("writing {}", path.display());
    let draft = path.with_extension("draft");
    let mut text = serde_json::to_string_pretty(value).doing(doing)?;
    text.push('\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .doing(doing)?;
    file.write_all(text.as_bytes()).doing(doing)?;
    file.sync_all().doing(doing)?;
    fs::rename(&draft, path).doing(doing)?;
    Ok(true)
}

fn read<T: DeserializeOwned>(path: &Path) -> Outcome<T> {
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(format!(
            "{} is gone, but the data that it opens is still there: bring it back from a backup, or \
             delete the stack's whole data folder",
            path.display()
        )),
        _ => Failure::new(format!("reading {}: {error}", path.display())),
    })?;
    // serde's error would quote what it did not understand, which may be a secret.
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!(
            "{}:{} is not readable",
            path.display(),
            error.line()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use events_schema::keyring::KeyRing;

    use super::*;

    fn data() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::locate(Some(folder.path())).unwrap();
        data.create().unwrap();
        (folder, data)
    }

    #[test]
    fn every_ring_is_one_that_the_services_can_read_and_only_the_owner_may_read_it() {
        let (_folder, data) = data();
        create_missing(&data).unwrap();
        for ring in PLAIN_RINGS
            .into_iter()
            .chain(["sealing-private.json", "sealing-public.json"])
        {
            let file = data.secrets().join(ring);
            let text = fs::read_to_string(&file).unwrap();
            KeyRing::parse(&text).unwrap_or_else(|error| panic!("{ring}: {error}"));
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn what_exists_is_never_overwritten() {
        let (_folder, data) = data();
        create_missing(&data).unwrap();
        let pepper = data.secrets().join("api-key-pepper.json");
        let before = fs::read(&pepper).unwrap();
        create_missing(&data).unwrap();
        assert_eq!(fs::read(&pepper).unwrap(), before);
    }

    #[test]
    fn lost_passwords_of_an_existing_database_are_not_made_up_again() {
        let (_folder, data) = data();
        fs::create_dir(data.postgres()).unwrap();
        let said = postgres_passwords(&data)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(said.contains("backup"), "{said}");
    }

    #[test]
    fn an_unreadable_secret_is_not_quoted() {
        let (_folder, data) = data();
        fs::write(data.secrets().join("operator.json"), "hunter2").unwrap();
        let said = operator(&data).map(|_| ()).unwrap_err().to_string();
        assert!(!said.contains("hunter2"), "{said}");
    }
}

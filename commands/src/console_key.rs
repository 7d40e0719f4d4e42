//! The console's own key, for the playground: an internal virtual account that may use every model. Made once, by
//! the same commands that an operator would send; the key lies in `console-key.json` beside the key rings.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use events_schema::{
    actor::{Actor, System},
    events::{GrantedModels, KeyLimits, Owner, Subject},
    id::VirtualAccountId,
    names::{Label, Slug},
};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    control::{Control, Submission, SubmitError},
    domain::{Command, GrantCommand, KeyCommand, VirtualAccountCommand},
    fresh,
    secrets::{SecretText, Secrets},
};

/// The virtual account's name.
pub const ACCOUNT: &str = "sluice-console";
const FILE: &str = "console-key.json";
const LABEL: &str = "console playground";
const WHY: &str = "The console's playground sends its requests with a key of its own.";

#[derive(Serialize, Deserialize)]
struct KeyFile {
    api_key: String,
}

/// Why the console has no key.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleKeyError {
    /// The file cannot be read or written.
    #[error("the file {path} cannot be {doing}")]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command was not done.
    #[error("the console's key could not be made: {0}")]
    Command(#[from] SubmitError),
}

/// The console's key: the one in the file when the log knows it, else a new one.
///
/// # Errors
/// See [`ConsoleKeyError`].
pub async fn ensure(
    control: &Control,
    secrets: &Secrets,
    dir: &Path,
) -> Result<SecretText, ConsoleKeyError> {
    let path = dir.join(FILE);
    let state = control.state();
    let is_known = |key: &SecretText| {
        secrets
            .api_key_hashes(key)
            .any(|hash| state.key_by_hash(&hash).is_some())
    };
    let kept = read(&path)?.filter(is_known);
    let account = ensure_account(control, secrets).await?;
    ensure_grant(control, secrets, account).await?;
    if let Some(key) = kept {
        return Ok(key);
    }
    let key = SecretText::new_api_key();
    // Each process has a key of its own, and each key a label of its own.
    let label = format!("{LABEL} …{}", key.hint());
    // First the file, then the key: a key that nobody knows would stay for ever.
    write(&path, &key)?;
    let order = KeyCommand::Issue {
        owner: Owner::VirtualAccount(account),
        label: label.parse::<Label>().expect("a label"),
        hash: secrets.api_key_hash(&key),
        hint: key.hint(),
        expires_at: None,
        limits: KeyLimits::default(),
        now: clock::now(),
    };
    submit(control, secrets, Command::Key(fresh::id(), order)).await?;
    tracing::info!("the console has a new key for the playground");
    Ok(key)
}

async fn ensure_account(
    control: &Control,
    secrets: &Secrets,
) -> Result<VirtualAccountId, SubmitError> {
    let name: Slug = ACCOUNT.parse().expect("a slug");
    if let Some(account) = control.live().state.virtual_account_named(&name) {
        return Ok(account.id);
    }
    let id = fresh::id();
    submit(
        control,
        secrets,
        Command::VirtualAccount(id, VirtualAccountCommand::Create { name }),
    )
    .await?;
    Ok(id)
}

async fn ensure_grant(
    control: &Control,
    secrets: &Secrets,
    account: VirtualAccountId,
) -> Result<(), SubmitError> {
    let subject = Subject::VirtualAccount(account);
    if control.live().state.grants_of(subject).next().is_some() {
        return Ok(());
    }
    let order = GrantCommand::Grant {
        subject,
        models: GrantedModels::All,
    };
    submit(control, secrets, Command::Grant(fresh::id(), order)).await
}

async fn submit(control: &Control, secrets: &Secrets, command: Command) -> Result<(), SubmitError> {
    let command_id = fresh::id();
    let submission = Submission {
        command_id,
        actor: Actor::System(System::Commands),
        correlation: None,
        why: Some(WHY.to_owned()),
        request_hash: secrets.request_hash(command_id.to_string().as_bytes()),
        made_at: None,
        orders: vec![command.into()],
    };
    control.submit(submission).await.map(drop)
}

/// The key in the file; a file that holds none counts as none.
fn read(path: &Path) -> Result<Option<SecretText>, ConsoleKeyError> {
    match fs::read(path) {
        Ok(json) => Ok(serde_json::from_slice::<KeyFile>(&json)
            .ok()
            .map(|file| SecretText::shown(&file.api_key))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConsoleKeyError::File {
            path: path.to_owned(),
            doing: "read",
            source,
        }),
    }
}

/// Writes the file whole or not at all, readable by its owner only.
fn write(path: &Path, key: &SecretText) -> Result<(), ConsoleKeyError> {
    let failed = |source| ConsoleKeyError::File {
        path: path.to_owned(),
        doing: "written",
        source,
    };
    let json = serde_json::to_vec(&KeyFile {
        api_key: key.reveal().to_owned(),
    })
    .expect("a key is JSON");
    let beside = path.with_extension("json.new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    io::Write::write_all(&mut file, &json)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

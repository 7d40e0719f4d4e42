//! The state as one JSON document, so that a start need not fold the whole log.

use serde::{Deserialize, Serialize};

use super::{
    FOLD_VERSION, Grant, Key, Membership, Model, Operator, Organisation, ProviderAccount,
    RateLimitPolicy, Settings, Team, User, VirtualAccount, VirtualModel,
};
use crate::{
    envelope::Epoch,
    events::Stream,
    id::{TeamId, UserId},
};

/// Everything in an [`Organisation`] but the derived indexes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The version of the fold that made it.
    pub fold_version: u16,
    /// The position of the last event folded in.
    pub position: u64,
    /// The epoch.
    pub epoch: Option<Epoch>,
    log_version: u64,
    provider_accounts: Vec<ProviderAccount>,
    models: Vec<Model>,
    virtual_models: Vec<VirtualModel>,
    users: Vec<User>,
    virtual_accounts: Vec<VirtualAccount>,
    keys: Vec<Key>,
    grants: Vec<Grant>,
    operators: Vec<Operator>,
    teams: Vec<Team>,
    memberships: Vec<(TeamId, UserId, Membership)>,
    rate_limit_policies: Vec<RateLimitPolicy>,
    settings: Settings,
    erased: Vec<String>,
    gone: Vec<(String, u64)>,
}

/// A checkpoint that cannot be used. The log is then folded from its beginning.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another version of the fold made it.
    #[error("the checkpoint is of fold version {found}, not {FOLD_VERSION}")]
    FoldVersion {
        /// That version.
        found: u16,
    },
    /// It names a stream that does not exist.
    #[error("the checkpoint names the stream '{0}'")]
    Stream(String),
}

impl Organisation {
    /// The state as a checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            fold_version: FOLD_VERSION,
            position: self.position,
            epoch: self.epoch,
            log_version: self.log_version,
            provider_accounts: self.provider_accounts.values().cloned().collect(),
            models: self.models.values().cloned().collect(),
            virtual_models: self.virtual_models.values().cloned().collect(),
            users: self.users.values().cloned().collect(),
            virtual_accounts: self.virtual_accounts.values().cloned().collect(),
            keys: self.keys.values().cloned().collect(),
            grants: self.grants.values().cloned().collect(),
            operators: self.operators.values().cloned().collect(),
            teams: self.teams.values().cloned().collect(),
            memberships: self
                .memberships
                .iter()
                .map(|((team, user), membership)| (*team, *user, *membership))
                .collect(),
            rate_limit_policies: self.rate_limit_policies.values().cloned().collect(),
            settings: self.settings.clone(),
            erased: self.erased.iter().map(ToString::to_string).collect(),
            gone: self
                .gone
                .iter()
                .map(|(stream, version)| (stream.to_string(), *version))
                .collect(),
        }
    }

    /// The state that a checkpoint holds.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn from_checkpoint(checkpoint: Checkpoint) -> Result<Self, CheckpointError> {
        let Checkpoint {
            fold_version,
            position,
            epoch,
            log_version,
            provider_accounts,
            models,
            virtual_models,
            users,
            virtual_accounts,
            keys,
            grants,
            operators,
            teams,
            memberships,
            rate_limit_policies,
            settings,
            erased,
            gone,
        } = checkpoint;
        if fold_version != FOLD_VERSION {
            return Err(CheckpointError::FoldVersion {
                found: fold_version,
            });
        }
        let mut state = Self {
            position,
            epoch,
            log_version,
            settings,
            ..Self::default()
        };
        for stream in erased {
            let parsed: Stream = stream
                .parse()
                .map_err(|_| CheckpointError::Stream(stream))?;
            state.erased.insert(parsed);
        }
        provider_accounts
            .into_iter()
            .for_each(|it| state.put_provider_account(it));
        models.into_iter().for_each(|it| state.put_model(it));
        virtual_models
            .into_iter()
            .for_each(|it| state.put_virtual_model(it));
        users.into_iter().for_each(|it| state.put_user(it));
        virtual_accounts
            .into_iter()
            .for_each(|it| state.put_virtual_account(it));
        keys.into_iter().for_each(|it| state.put_key(it));
        grants.into_iter().for_each(|it| state.put_grant(it));
        operators.into_iter().for_each(|it| state.put_operator(it));
        teams.into_iter().for_each(|it| state.put_team(it));
        for (team, user, membership) in memberships {
            state.put_membership(team, user, membership);
        }
        rate_limit_policies
            .into_iter()
            .for_each(|it| state.put_rate_limit_policy(it));
        for (stream, version) in gone {
            let parsed: Stream = stream
                .parse()
                .map_err(|_| CheckpointError::Stream(stream))?;
            state.gone.insert(parsed, version);
        }
        Ok(state)
    }
}

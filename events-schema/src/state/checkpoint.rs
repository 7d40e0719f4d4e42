//! The state as one JSON document, so that a start need not fold the whole log.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};

use super::{
    BudgetAlert, BudgetPolicy, FOLD_VERSION, Grant, Key, Membership, Model, Operator, Organisation,
    ProviderAccount, RateLimitPolicy, Settings, Team, User, VirtualAccount, VirtualModel,
};
use crate::{
    envelope::Epoch,
    events::Stream,
    id::{BudgetPolicyId, TeamId, UserId},
    time::Timestamp,
};

/// Everything in an [`Organisation`] but the derived indexes, as it is read; it is written by the state itself.
#[derive(Debug, Deserialize)]
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
    budget_policies: Vec<BudgetPolicy>,
    budget_alerts: Vec<BudgetAlert>,
    alert_versions: Vec<(BudgetPolicyId, u64)>,
    alerts_forgotten_until: Option<Timestamp>,
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

/// A checkpoint's JSON, without a copy of the state: the very text of which [`Organisation::state_digest`] is the hash.
impl Serialize for Organisation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
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
            budget_policies,
            budget_alerts,
            alert_versions,
            alerts_forgotten_until,
            settings,
            erased,
            gone,
            index: _,
        } = self;
        let mut json = serializer.serialize_struct("Checkpoint", 22)?;
        json.serialize_field("fold_version", &FOLD_VERSION)?;
        json.serialize_field("position", position)?;
        json.serialize_field("epoch", epoch)?;
        json.serialize_field("log_version", log_version)?;
        json.serialize_field("provider_accounts", &Listed(|| provider_accounts.values()))?;
        json.serialize_field("models", &Listed(|| models.values()))?;
        json.serialize_field("virtual_models", &Listed(|| virtual_models.values()))?;
        json.serialize_field("users", &Listed(|| users.values()))?;
        json.serialize_field("virtual_accounts", &Listed(|| virtual_accounts.values()))?;
        json.serialize_field("keys", &Listed(|| keys.values()))?;
        json.serialize_field("grants", &Listed(|| grants.values()))?;
        json.serialize_field("operators", &Listed(|| operators.values()))?;
        json.serialize_field("teams", &Listed(|| teams.values()))?;
        let memberships = Listed(|| {
            memberships
                .iter()
                .map(|((team, user), it)| (team, user, it))
        });
        json.serialize_field("memberships", &memberships)?;
        json.serialize_field(
            "rate_limit_policies",
            &Listed(|| rate_limit_policies.values()),
        )?;
        json.serialize_field("budget_policies", &Listed(|| budget_policies.values()))?;
        json.serialize_field("budget_alerts", &Listed(|| budget_alerts.values()))?;
        json.serialize_field("alert_versions", &Listed(|| alert_versions.iter()))?;
        json.serialize_field("alerts_forgotten_until", alerts_forgotten_until)?;
        json.serialize_field("settings", settings)?;
        json.serialize_field("erased", &Listed(|| erased.iter().map(ToString::to_string)))?;
        let gone = Listed(|| gone.iter().map(|(stream, it)| (stream.to_string(), it)));
        json.serialize_field("gone", &gone)?;
        json.end()
    }
}

/// What an iterator gives, as a list.
struct Listed<F>(F);

impl<F, I> Serialize for Listed<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl Organisation {
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
            budget_policies,
            budget_alerts,
            alert_versions,
            alerts_forgotten_until,
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
            alert_versions: alert_versions.into_iter().collect(),
            alerts_forgotten_until,
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
        budget_policies
            .into_iter()
            .for_each(|it| state.put_budget_policy(it));
        budget_alerts
            .into_iter()
            .for_each(|it| state.put_budget_alert(it));
        for (stream, version) in gone {
            let parsed: Stream = stream
                .parse()
                .map_err(|_| CheckpointError::Stream(stream))?;
            state.gone.insert(parsed, version);
        }
        Ok(state)
    }
}

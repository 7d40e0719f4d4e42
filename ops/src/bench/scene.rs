//! What a measurement needs in an organisation: a provider, models, someone who may use them, and
//! keys by the thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use events_schema::api::commands::NewCommand;
use events_schema::events::{
    Choice, GrantedModels, KeyLimits, LimitMode, LimitUnit, LimitWhenCutOff, LimitWindow,
    ModelType, Owner, Provider, RateLimit, RateLimitRule, Routing, RoutingTarget, Subject, When,
};
use events_schema::id::{KeyId, ModelId, ProviderAccountId, VirtualAccountId, VirtualModelId};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;

use super::api::{Account, Api};
use super::provider::{MODEL, PACED_MODEL};
use super::{histogram, say};
use crate::failure::{Doing as _, Failure, Outcome};

/// Commands on their way at once while keys are made.
pub(super) const WRITERS: u64 = 64;

/// Limits that are checked on every request and never reached.
const LIMITS: KeyLimits = KeyLimits {
    requests_per_minute: Some(1_000_000_000),
    tokens_per_minute: Some(1_000_000_000_000),
};

/// The things that were made.
pub(super) struct Scene {
    /// Who owns the keys.
    pub(super) owner: Owner,
    /// The same, as a virtual account.
    pub(super) account: VirtualAccountId,
    /// Two models of the provider.
    pub(super) models: [ModelId; 2],
    /// What callers ask for.
    pub(super) virtual_model: VirtualModelId,
}

/// The name of the virtual model.
pub(super) const VIRTUAL_MODEL: &str = "bench";

/// What stands behind the name of the one whose models take their time.
const PACED: &str = "-paced";

/// The name of the one whose models take their time.
pub(super) const PACED_VIRTUAL_MODEL: &str = "bench-paced";

/// A key that was made.
pub(super) struct Key {
    /// Its id.
    pub(super) id: KeyId,
    /// The key itself.
    pub(super) secret: String,
    /// The position of its event.
    pub(super) position: u64,
}

/// Keys that were made, and how long each command took.
pub(super) struct Batch {
    /// Only the last of each writer.
    pub(super) last: Vec<Key>,
    /// How long the commands took, in nanoseconds.
    pub(super) times: Histogram<u64>,
    /// How long all took together.
    pub(super) elapsed: Duration,
}

// === impl Scene ===

impl Scene {
    /// Makes a provider account at `upstream`, two models, a virtual model over both, and a virtual
    /// account that may use it.
    pub(super) async fn set(api: &mut Api, upstream: SocketAddr) -> Outcome<Self> {
        Self::set_as(VIRTUAL_MODEL, api, upstream).await
    }

    /// The same under a name of its own, which is also the virtual model's.
    pub(super) async fn set_as(name: &str, api: &mut Api, upstream: SocketAddr) -> Outcome<Self> {
        let account: ProviderAccountId = api
            .create(NewCommand::RegisterProviderAccount {
                name: name.to_owned(),
                provider: Provider::OpenaiCompatible,
                base_url: format!("http://{upstream}/v1"),
                credential: Some("sk-bench".to_owned()),
                allows_private_addresses: true,
            })
            .await?;
        let models = [
            model(api, account, "one", MODEL).await?,
            model(api, account, "two", MODEL).await?,
        ];
        let paced = [
            model(api, account, "paced-one", PACED_MODEL).await?,
            model(api, account, "paced-two", PACED_MODEL).await?,
        ];
        let paced = NewCommand::CreateVirtualModel {
            name: format!("{name}{PACED}"),
            routing: routing(&paced),
        };
        let _: VirtualModelId = api.create(paced).await?;
        let virtual_model = NewCommand::CreateVirtualModel {
            name: name.to_owned(),
            routing: routing(&models),
        };
        let virtual_model = api.create(virtual_model).await?;
        let owner = owner(api, name.to_owned()).await?;
        Ok(Self {
            owner: Owner::VirtualAccount(owner),
            account: owner,
            models,
            virtual_model,
        })
    }

    /// From now on keys are those of another owner, who has used nothing yet.
    pub(super) async fn change_owner(&mut self, api: &mut Api, name: String) -> Outcome {
        self.account = owner(api, name).await?;
        self.owner = Owner::VirtualAccount(self.account);
        Ok(())
    }

    /// Makes one key.
    pub(super) async fn issue_key(&self, api: &mut Api, label: String) -> Outcome<Key> {
        let command = NewCommand::IssueKey {
            owner: self.owner,
            label,
            expires_at: None,
            limits: LIMITS,
        };
        let answer = api.command(command).await?;
        let id = answer.id.and_then(|id| id.parse().ok());
        match (id, answer.secret) {
            (Some(id), Some(secret)) => Ok(Key {
                id,
                secret,
                position: answer.position,
            }),
            _ => Err(Failure::new(
                "a command that makes a key answered without the key",
            )),
        }
    }

    /// Makes rate-limit policies that match nobody who is measured.
    pub(super) async fn make_policies(&self, api: &mut Api, policies: u32) -> Outcome {
        let limit = RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::Minute,
            limit: 1_000_000_000,
        };
        for order in 0..policies {
            let name = format!("bench-{order}");
            let value = Choice::only([name.clone()]);
            let metadata = BTreeMap::from([("bench".parse().doing(|| "a key".to_owned())?, value)]);
            let rule = RateLimitRule {
                when: When {
                    metadata,
                    ..When::default()
                },
                applies_per: BTreeSet::new(),
                limits: BTreeSet::from([limit]),
                overrides: BTreeSet::new(),
                mode: LimitMode::Enforce,
                when_cut_off: LimitWhenCutOff::Alone,
            };
            let rule = Box::new(rule);
            let command = NewCommand::CreateRateLimitPolicy { name, order, rule };
            api.command(command).await?;
        }
        Ok(())
    }

    /// Makes keys from many connections at once, labelled `<label> <number>`.
    pub(super) async fn issue_keys(
        &self,
        account: &Account,
        label: &str,
        keys: u64,
    ) -> Outcome<Batch> {
        say(&format!("making {keys} keys through the log"));
        let begun = Instant::now();
        let writers =
            (0..WRITERS.min(keys)).map(|writer| self.write_keys(account, label, writer, keys));
        let parts = try_join_all(writers).await?;
        let elapsed = begun.elapsed();
        let mut batch = Batch {
            last: Vec::new(),
            times: histogram(),
            elapsed,
        };
        for (key, times) in parts {
            batch.last.extend(key);
            batch.times += times;
        }
        let rate = batch.rate();
        say(&format!(
            "{keys} keys in {:.1} s, {rate:.0} a second",
            elapsed.as_secs_f64()
        ));
        Ok(batch)
    }

    /// One writer's share of the keys: every `WRITERS`th.
    async fn write_keys(
        &self,
        account: &Account,
        label: &str,
        writer: u64,
        keys: u64,
    ) -> Outcome<(Option<Key>, Histogram<u64>)> {
        let mut api = account.open().await?;
        let (mut last, mut times) = (None, histogram());
        for number in (writer..keys).step_by(usize::try_from(WRITERS).unwrap_or(usize::MAX)) {
            let begun = Instant::now();
            last = Some(
                self.issue_key(&mut api, format!("{label} {number}"))
                    .await?,
            );
            times.saturating_record(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        Ok((last, times))
    }
}

// === impl Batch ===

impl Batch {
    /// Commands a second.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of this size lose nothing that matters"
    )]
    pub(super) fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The key with the highest position.
    pub(super) fn newest(&self) -> Outcome<&Key> {
        let newest = self.last.iter().max_by_key(|key| key.position);
        newest.ok_or_else(|| Failure::new("no key was made"))
    }
}

/// Equal weights over these models.
pub(super) fn routing(models: &[ModelId]) -> Routing {
    let targets = models
        .iter()
        .map(|model| RoutingTarget::weighted(*model, 1));
    Routing::weighted(targets.collect())
}

/// A virtual account that may use all models.
async fn owner(api: &mut Api, name: String) -> Outcome<VirtualAccountId> {
    let owner: VirtualAccountId = api
        .create(NewCommand::CreateVirtualAccount { name })
        .await?;
    api.command(NewCommand::GrantAccess {
        subject: Subject::VirtualAccount(owner),
        models: GrantedModels::All,
    })
    .await?;
    Ok(owner)
}

async fn model(
    api: &mut Api,
    account: ProviderAccountId,
    name: &str,
    upstream_name: &str,
) -> Outcome<ModelId> {
    api.create(NewCommand::AddModel {
        account,
        name: name.to_owned(),
        upstream_name: Some(upstream_name.to_owned()),
        model_types: BTreeSet::from([ModelType::Chat]),
    })
    .await
}

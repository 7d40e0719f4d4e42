//! The example organisation, made through the public API as a person would make it. What is there
//! already is left as it is, so seeding again changes nothing.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::{
    BudgetPolicyItem, GrantItem, KeyItem, ModelItem, ProviderAccountItem, UserItem,
    VirtualAccountItem, VirtualModelItem,
};
use events_schema::api::status::Served;
use events_schema::events::{
    BudgetAmount, BudgetLimit, BudgetRule, BudgetWindow, GrantedModels, KeyLimits, LimitMode,
    ModelType, Owner, Provider, Routing, RoutingTarget, Subject, When, WhenCutOff,
};
use events_schema::id::{Id, ModelId, ProviderAccountId, UserId, VirtualAccountId};
use events_schema::money::{NanoUsd, Price};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};

use crate::api::{Api, SignedIn};
use crate::client;
use crate::failure::{Doing, Failure, Outcome};
use crate::progress::Progress;
use crate::stack::DataDir;
use crate::stack::nats::User;
use crate::stack::ports::Ports;
use crate::stack::secrets::{self, ExampleKey, Operator};
use crate::stack::services::url;
use crate::stack::ways::Ways;
use crate::supervise::state::StackState;

/// Why these things exist, for the history.
const WHY: &str = "the example organisation of `sluice up`";

/// The virtual model that newcomers call.
const VIRTUAL_MODEL: &str = "chat";

/// The example's budget, in dollars a month: enough for some thousand million tokens.
const BUDGET_DOLLARS: u64 = 100_000;

/// An account at the mock provider.
struct Account {
    name: &'static str,
    provider: Provider,
}

/// The account that speaks OpenAI's API.
const MOCK: Account = Account {
    name: "mock",
    provider: Provider::OpenaiCompatible,
};

/// The account that speaks Anthropic's API.
const MOCK_ANTHROPIC: Account = Account {
    name: "mock-anthropic",
    provider: Provider::Anthropic,
};

/// A model of the mock provider: its name, what it does, and dollars a million tokens, in and out.
struct Example {
    name: &'static str,
    kind: ModelType,
    input_dollars: u64,
    output_dollars: u64,
}

const MODELS: [Example; 4] = [
    Example {
        name: "fast",
        kind: ModelType::Chat,
        input_dollars: 1,
        output_dollars: 4,
    },
    Example {
        name: "slow",
        kind: ModelType::Chat,
        input_dollars: 3,
        output_dollars: 15,
    },
    Example {
        name: "embed",
        kind: ModelType::Embedding,
        input_dollars: 1,
        output_dollars: 0,
    },
    Example {
        name: "instruct",
        kind: ModelType::Completion,
        input_dollars: 1,
        output_dollars: 2,
    },
];

/// A model of the account that speaks Anthropic's API.
const CLAUDE: Example = Example {
    name: "claude",
    kind: ModelType::Chat,
    input_dollars: 3,
    output_dollars: 15,
};

/// Makes what is missing and returns a key that works.
pub(crate) async fn seed(
    data: &DataDir,
    ports: Ports,
    ways: &Ways,
    progress: &Progress,
) -> Outcome<ExampleKey> {
    let step = progress.step("example");
    let operator = secrets::operator(data)?;
    let api = sign_in(data, ports, ways, &operator).await?;
    let seeder = Seeder { api, ports };
    let account = seeder.account(&MOCK).await?;
    let mut models = Vec::new();
    for example in &MODELS {
        models.push(seeder.model(account, MOCK.name, example).await?);
    }
    let anthropic = seeder.account(&MOCK_ANTHROPIC).await?;
    seeder
        .model(anthropic, MOCK_ANTHROPIC.name, &CLAUDE)
        .await?;
    seeder.virtual_model(&models).await?;
    let user = seeder.user().await?;
    let owner = seeder.virtual_account().await?;
    seeder.grant(Subject::User(user)).await?;
    seeder.grant(Subject::VirtualAccount(owner)).await?;
    seeder.users_key(user).await?;
    seeder.budget().await?;
    let key = seeder.example_key(data, owner).await?;
    step.done();
    Ok(key)
}

/// Signs in as the first owner, who is made when nobody knows them.
async fn sign_in(data: &DataDir, ports: Ports, ways: &Ways, operator: &Operator) -> Outcome<Api> {
    let console = ways.console(ports.console());
    if let SignedIn::Yes(api) = Api::sign_in(&console, ways.ca_file(), operator).await? {
        return Ok(api);
    }
    create_owner(data, ports, ways, operator)?;
    match Api::sign_in(&console, ways.ca_file(), operator).await? {
        SignedIn::Yes(api) => Ok(api),
        SignedIn::Refused => Err(Failure::new(format!(
            "{} cannot sign in: was the password in {} changed in the console?",
            operator.email,
            data.secrets().join("operator.json").display()
        ))),
    }
}

/// The documented way to a deployment's first owner.
fn create_owner(data: &DataDir, ports: Ports, ways: &Ways, operator: &Operator) -> Outcome {
    let doing = || "making the first owner".to_owned();
    let state = StackState::read(&data.state_file())?
        .ok_or_else(|| Failure::new("the stack does not run"))?;
    let program = state
        .service("commands")
        .map(|service| service.program.clone())
        .ok_or_else(|| Failure::new("the stack has no commands"))?;
    let passwords = secrets::postgres_passwords(data)?;
    let password = &passwords.service_password;
    let database = ways.postgres("sluice_service", password, "sluice", ports.postgres());
    let nats = ways.nats(
        User::Commands,
        &secrets::nats_passwords(data)?,
        ports.nats(),
    );
    let mut child = Command::new(program)
        .args([
            "create-owner",
            "--email",
            &operator.email,
            "--name",
            "Owner",
        ])
        .arg("--secrets-dir")
        .arg(data.secrets())
        .env("SLUICE_POSTGRES_URL", database)
        .env("SLUICE_NATS_URL", nats)
        .envs(ways.ca_file().map(|file| ("SLUICE_CA_FILE", file)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(doing)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(operator.password.as_bytes()).doing(doing)?;
    }
    let output = child.wait_with_output().doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}: {}{}",
        doing(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}

struct Seeder {
    api: Api,
    ports: Ports,
}

// === impl Seeder ===

impl Seeder {
    async fn account(&self, account: &Account) -> Outcome<ProviderAccountId> {
        let base_url = format!("{}/v1", url(self.ports.mock_provider()));
        let credential = Some("mock-provider-key".to_owned());
        let found: Option<ProviderAccountItem> = self
            .api
            .find("/provider-accounts", |item: &ProviderAccountItem| {
                item.name == account.name
            })
            .await?;
        let Some(item) = found else {
            return self
                .make(NewCommand::RegisterProviderAccount {
                    name: account.name.into(),
                    provider: account.provider,
                    base_url,
                    credential,
                    allows_private_addresses: true,
                })
                .await;
        };
        // The stack may have moved to other ports.
        if item.base_url != base_url && item.base_url.starts_with("http://127.0.0.1:") {
            let move_it = NewCommand::MoveProviderAccount {
                account: item.id,
                base_url,
                credential,
            };
            self.api
                .command("the stack's ports changed", move_it)
                .await?;
        }
        Ok(item.id)
    }

    async fn model(
        &self,
        account: ProviderAccountId,
        account_name: &str,
        example: &Example,
    ) -> Outcome<ModelId> {
        let full_name = format!("{account_name}/{}", example.name);
        let found = self
            .api
            .find("/models", |item: &ModelItem| item.full_name == full_name)
            .await?;
        if let Some(item) = found {
            return Ok(item.id);
        }
        let model = self
            .make(NewCommand::AddModel {
                account,
                name: example.name.into(),
                upstream_name: None,
                model_types: BTreeSet::from([example.kind]),
            })
            .await?;
        let dollars = |dollars: u64| NanoUsd::new(dollars * 1_000_000_000);
        let price = Price {
            input: dollars(example.input_dollars),
            output: dollars(example.output_dollars),
            cached_input: None,
        };
        let set_price = NewCommand::SetModelPrice {
            model,
            price,
            effective_at: None,
        };
        self.api.command(WHY, set_price).await?;
        Ok(model)
    }

    /// Nine requests in ten go to the fast model; each falls back to the other.
    async fn virtual_model(&self, models: &[ModelId]) -> Outcome {
        let found = self
            .api
            .find("/virtual-models", |item: &VirtualModelItem| {
                item.name == VIRTUAL_MODEL
            })
            .await?;
        if found.is_some() {
            return Ok(());
        }
        let targets = models
            .iter()
            .zip([90, 10])
            .map(|(model, weight)| RoutingTarget::weighted(*model, weight))
            .collect();
        let routing = Routing::weighted(targets);
        let create = NewCommand::CreateVirtualModel {
            name: VIRTUAL_MODEL.into(),
            routing,
        };
        self.api.command(WHY, create).await.map(|_| ())
    }

    async fn user(&self) -> Outcome<UserId> {
        let email = "ada@example.com";
        let known = |item: &UserItem| item.email.as_deref() == Some(email);
        match self.api.find("/users", known).await? {
            Some(item) => Ok(item.id),
            None => {
                self.make(NewCommand::AddUser {
                    email: email.into(),
                    name: "Ada Lovelace".into(),
                })
                .await
            }
        }
    }

    async fn virtual_account(&self) -> Outcome<VirtualAccountId> {
        let name = "example-app";
        let known = |item: &VirtualAccountItem| item.name == name;
        match self.api.find("/virtual-accounts", known).await? {
            Some(item) => Ok(item.id),
            None => {
                self.make(NewCommand::CreateVirtualAccount { name: name.into() })
                    .await
            }
        }
    }

    async fn grant(&self, subject: Subject) -> Outcome {
        let found = self
            .api
            .find("/grants", |item: &GrantItem| item.subject == subject)
            .await?;
        if found.is_none() {
            let grant = NewCommand::GrantAccess {
                subject,
                models: GrantedModels::All,
            };
            self.api.command(WHY, grant).await?;
        }
        Ok(())
    }

    /// A key of the user's own, so that the console has more than one to show.
    async fn users_key(&self, user: UserId) -> Outcome {
        let owner = Owner::User(user);
        let found = self
            .api
            .find("/keys", |item: &KeyItem| item.owner == owner)
            .await?;
        if found.is_none() {
            self.issue(owner, "Ada's laptop").await?;
        }
        Ok(())
    }

    /// What everything may cost in a month: so much that no example comes near it. It only audits: an example makes no request
    /// wait for a lease, and refuses none.
    async fn budget(&self) -> Outcome {
        let name = "everything-monthly";
        let known = |item: &BudgetPolicyItem| item.name == name;
        if self.api.find("/budget-policies", known).await?.is_some() {
            return Ok(());
        }
        let limit = BudgetLimit {
            amount: BudgetAmount::Cost(NanoUsd::new(BUDGET_DOLLARS * 1_000_000_000)),
            window: BudgetWindow::Month,
        };
        let rule = BudgetRule {
            when: When::default(),
            applies_per: BTreeSet::new(),
            limits: BTreeSet::from([limit]),
            overrides: BTreeSet::new(),
            mode: LimitMode::Audit,
            when_cut_off: WhenCutOff::Open,
            alerts: BTreeSet::from([75, 90, 95, 100]),
        };
        let create = NewCommand::CreateBudgetPolicy {
            name: name.into(),
            order: 100,
            rule: Box::new(rule),
        };
        self.api.command(WHY, create).await.map(|_| ())
    }

    /// The key that was shown before, or a new one when it does not work any more.
    async fn example_key(&self, data: &DataDir, account: VirtualAccountId) -> Outcome<ExampleKey> {
        if let Some(key) = secrets::example_key(data)?
            && self.works(&key).await?
        {
            return Ok(key);
        }
        let (position, api_key) = self
            .issue(Owner::VirtualAccount(account), "example")
            .await?;
        let key = ExampleKey {
            api_key,
            model: VIRTUAL_MODEL.into(),
        };
        secrets::keep_example_key(data, &key)?;
        let served: Served = self
            .api
            .get(&format!("/served?position={position}&timeout_ms=10000"))
            .await?;
        if served.served && self.works(&key).await? {
            return Ok(key);
        }
        Err(Failure::new(format!(
            "the gateway does not serve position {position}, at which the example key was made"
        )))
    }

    async fn works(&self, key: &ExampleKey) -> Outcome<bool> {
        let bearer = HeaderValue::from_str(&format!("Bearer {}", key.api_key))
            .doing(|| "reading the example key".into())?;
        let models = format!("{}/v1/models", url(self.ports.gateway()));
        let answer = client::call(Method::GET, &models, &[(AUTHORIZATION, bearer)], None).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::UNAUTHORIZED => Ok(false),
            other => Err(Failure::new(format!(
                "the gateway answers {other}: {}",
                answer.text()
            ))),
        }
    }

    async fn issue(&self, owner: Owner, label: &str) -> Outcome<(u64, String)> {
        let issue = NewCommand::IssueKey {
            owner,
            label: label.into(),
            expires_at: None,
            limits: KeyLimits::default(),
        };
        let answer = self.api.command(WHY, issue).await?;
        let secret = answer
            .secret
            .ok_or_else(|| Failure::new("a new key was not shown"))?;
        Ok((answer.position, secret))
    }

    /// Gives a command and returns the id of what it made.
    async fn make<T>(&self, command: NewCommand) -> Outcome<Id<T>> {
        let answer = self.api.command(WHY, command).await?;
        let id = answer
            .id
            .ok_or_else(|| Failure::new("the command names nothing that it made"))?;
        id.parse().doing(|| "reading an id".into())
    }
}

//! What to call things, for lists and the history: names from the state, people from the table beside the log.

use std::{
    collections::{BTreeSet, HashMap},
    sync::OnceLock,
};

use events_schema::{
    actor::{Actor, System},
    api::resources::{GrantedModelItem, LimitedSubjectItem},
    events::{ModelRef, Named, Owner, Stream, Subject},
    id::ModelId,
    state::Organisation,
};
use uuid::Uuid;

use super::{app::Answer, problem::ApiError};
use crate::{
    control::{Control, Person},
    log::ReadError,
    unreached::{Unreached, unreached},
};

/// What a person is called whose row was erased: by the id, under which the history goes on to know the person.
pub(super) fn erased(person: Uuid) -> String {
    format!("erased person {}", person.as_simple())
}

/// Names as they are now.
pub(super) struct Names<'a> {
    state: &'a Organisation,
    people: HashMap<Uuid, Person>,
    /// Looked for when the first policy is shown.
    unreached: OnceLock<Vec<Unreached>>,
}

/// A log that cannot be read, as a problem; the log line has the details.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn unreadable(error: ReadError) -> ApiError {
    tracing::warn!(%error, "the log could not be read for a request");
    ApiError::LogUnavailable("The log cannot be read; try again in a moment.".into())
}

impl<'a> Names<'a> {
    /// Names for which these people are needed.
    pub(super) async fn read(
        control: &Control,
        state: &'a Organisation,
        people: impl IntoIterator<Item = Uuid>,
    ) -> Answer<Self> {
        let ids: Vec<Uuid> = people
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let people = if ids.is_empty() {
            HashMap::new()
        } else {
            control.people(&ids).await.map_err(unreadable)?
        };
        Ok(Self {
            state,
            people,
            unreached: OnceLock::new(),
        })
    }

    /// The state whose names they are.
    pub(super) const fn state(&self) -> &'a Organisation {
        self.state
    }

    /// The person of this id, unless erased.
    pub(super) fn person(&self, id: Uuid) -> Option<&Person> {
        self.people.get(&id)
    }

    fn person_name(&self, id: Uuid) -> String {
        self.person(id)
            .map_or_else(|| erased(id), |person| person.name.clone())
    }

    /// What an owner is called.
    pub(super) fn owner(&self, owner: Owner) -> String {
        match owner {
            Owner::User(id) => self.person_name(id.uuid()),
            Owner::VirtualAccount(id) => self
                .state
                .virtual_accounts()
                .get(&id)
                .map_or_else(|| id.to_string(), |it| it.name.to_string()),
        }
    }

    /// What a subject is called.
    pub(super) fn subject(&self, subject: Subject) -> String {
        match subject {
            Subject::Everyone => "everyone".to_owned(),
            Subject::User(id) => self.owner(Owner::User(id)),
            Subject::VirtualAccount(id) => self.owner(Owner::VirtualAccount(id)),
            Subject::Team(id) => self
                .state
                .teams()
                .get(&id)
                .map_or_else(|| id.to_string(), |it| it.name.to_string()),
            Subject::Key(id) => self
                .state
                .keys()
                .get(&id)
                .map_or_else(|| id.to_string(), |it| it.label.to_string()),
        }
    }

    /// Everybody whom a policy's rule names, by name.
    pub(super) fn limited_subjects(&self, named: &Named) -> Vec<LimitedSubjectItem> {
        let subjects = named.subjects.iter().map(|subject| LimitedSubjectItem {
            subject: *subject,
            name: self.subject((*subject).into()),
        });
        subjects.collect()
    }

    /// All models that a policy's rule names, by name.
    pub(super) fn models(&self, named: &Named) -> Vec<GrantedModelItem> {
        let models = named.models.iter().map(|model| GrantedModelItem {
            model: *model,
            name: model_ref(self.state, *model),
        });
        models.collect()
    }

    /// Behind which other policy one is the first for nothing; `None`: it is for something.
    pub(super) fn unreachable_behind(&self, policy: Stream) -> Option<String> {
        let all = self.unreached.get_or_init(|| unreached(self.state));
        let found = all.iter().find(|it| it.policy == policy);
        found.map(|it| it.behind.clone())
    }

    /// What a thing is called now; `None` when it is gone or has no name.
    pub(super) fn stream(&self, stream: Stream) -> Option<String> {
        let state = self.state;
        match stream {
            Stream::Log | Stream::Settings => None,
            Stream::ProviderAccount(id) => state
                .provider_accounts()
                .get(&id)
                .map(|it| it.name.to_string()),
            Stream::Model(id) => full_name(state, id),
            Stream::VirtualModel(id) => state
                .virtual_models()
                .get(&id)
                .map(|it| it.name.to_string()),
            Stream::User(id) => self.person(id.uuid()).map(|it| it.name.clone()),
            Stream::VirtualAccount(id) => state
                .virtual_accounts()
                .get(&id)
                .map(|it| it.name.to_string()),
            Stream::Key(id) => state.keys().get(&id).map(|it| it.label.to_string()),
            Stream::Grant(id) => state.grants().get(&id).map(|it| self.subject(it.subject)),
            Stream::Operator(id) => self.person(id.uuid()).map(|it| it.name.clone()),
            Stream::Team(id) => state.teams().get(&id).map(|it| it.name.to_string()),
            Stream::RateLimitPolicy(id) => state
                .rate_limit_policies()
                .get(&id)
                .map(|it| it.name.to_string()),
            Stream::BudgetPolicy(id) | Stream::BudgetAlert(id) => state
                .budget_policies()
                .get(&id)
                .map(|it| it.name.to_string()),
        }
    }

    /// What an actor is called now.
    pub(super) fn actor(&self, actor: Actor) -> Option<String> {
        match actor {
            Actor::Operator(id) => self.person(id.uuid()).map(|it| it.name.clone()),
            Actor::Token(id, token) => {
                let name = self.person(id.uuid())?.name.clone();
                let operator = self.state.operators().get(&id);
                let known =
                    operator.and_then(|it| it.tokens.iter().find(|known| known.id == token));
                Some(known.map_or_else(
                    || format!("{name} (token)"),
                    |it| format!("{name} (token {})", it.label),
                ))
            }
            Actor::System(System::Init) => Some("Sluice, when the log began".to_owned()),
            Actor::System(System::CommandLine) => Some("the command line".to_owned()),
            Actor::System(System::Commands) => Some("Sluice".to_owned()),
        }
    }
}

/// The people whose names a stream and an actor need.
pub(super) fn people_of(
    state: &Organisation,
    stream: Stream,
    actor: Actor,
) -> impl Iterator<Item = Uuid> {
    people_of_stream(state, stream)
        .into_iter()
        .chain(actor.operator().map(|id| id.uuid()))
}

/// The person whose name a stream needs.
pub(super) fn people_of_stream(state: &Organisation, stream: Stream) -> Option<Uuid> {
    match stream {
        Stream::User(id) => Some(id.uuid()),
        Stream::Operator(id) => Some(id.uuid()),
        Stream::Grant(id) => state
            .grants()
            .get(&id)
            .and_then(|grant| subject_person(grant.subject)),
        Stream::Log
        | Stream::ProviderAccount(_)
        | Stream::Model(_)
        | Stream::VirtualModel(_)
        | Stream::VirtualAccount(_)
        | Stream::Key(_)
        | Stream::Team(_)
        | Stream::RateLimitPolicy(_)
        | Stream::BudgetPolicy(_)
        | Stream::BudgetAlert(_)
        | Stream::Settings => None,
    }
}

/// The person that a subject is.
pub(super) const fn subject_person(subject: Subject) -> Option<Uuid> {
    match subject {
        Subject::User(id) => Some(id.uuid()),
        Subject::Everyone | Subject::VirtualAccount(_) | Subject::Key(_) | Subject::Team(_) => None,
    }
}

/// The people whom a policy's rule names.
pub(super) fn people_named(named: &Named) -> Vec<Uuid> {
    let subjects = named.subjects.iter();
    subjects
        .filter_map(|subject| subject_person((*subject).into()))
        .collect()
}

/// The person that an owner is.
pub(super) const fn owner_person(owner: Owner) -> Option<Uuid> {
    match owner {
        Owner::User(id) => Some(id.uuid()),
        Owner::VirtualAccount(_) => None,
    }
}

/// `account/model`.
pub(super) fn full_name(state: &Organisation, id: ModelId) -> Option<String> {
    let model = state.models().get(&id)?;
    let account = state.provider_accounts().get(&model.account)?;
    Some(format!("{}/{}", account.name, model.name))
}

/// What something that can be asked for is called.
pub(super) fn model_ref(state: &Organisation, model: ModelRef) -> String {
    let name = match model {
        ModelRef::Model(id) => full_name(state, id),
        ModelRef::VirtualModel(id) => state
            .virtual_models()
            .get(&id)
            .map(|it| it.name.to_string()),
        ModelRef::ProviderAccount(id) => state
            .provider_accounts()
            .get(&id)
            .map(|it| format!("{}/*", it.name)),
    };
    name.unwrap_or_else(|| "gone".to_owned())
}

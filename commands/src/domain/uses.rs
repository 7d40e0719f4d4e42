//! What refers to a thing, and whether it could be deleted all the same.
//!
//! The rules of deletion refuse what [`Relation::blocks`] says, and nothing else: whoever shows this list before
//! something is deleted shows what will happen.

use events_schema::{
    events::{Aggregate, ModelRef, Owner, Stream, Subject},
    state::Organisation,
};

/// One thing that refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// What refers to it.
    pub by: Stream,
    /// In which way.
    pub relation: Relation,
}

/// In which way one thing refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// A model lies in the provider account.
    ModelOf,
    /// A virtual model routes to the model.
    RoutesTo,
    /// A grant opens it.
    Opens,
    /// A grant is made to it.
    GrantedTo,
    /// A key belongs to it.
    KeyOf,
    /// A team has the user as a member.
    HasMember,
    /// A user is a member of the team.
    MemberOf,
    /// A rate-limit policy names it.
    Limits,
    /// A budget policy names it.
    Budgets,
}

impl Relation {
    /// Whether the thing cannot be deleted before what refers to it so is gone; else that goes with it.
    #[must_use]
    pub const fn blocks(self, thing: Stream) -> bool {
        match self {
            Self::ModelOf
            | Self::RoutesTo
            | Self::Opens
            | Self::KeyOf
            | Self::Limits
            | Self::Budgets => true,
            // A key is never kept alive by what refers to it.
            Self::GrantedTo => !matches!(thing, Stream::Key(_)),
            Self::HasMember | Self::MemberOf => false,
        }
    }
}

/// Everything that refers to a thing, the same kinds together.
pub fn uses(state: &Organisation, thing: Stream) -> impl Iterator<Item = Use> + '_ {
    let policies = state.policies_naming(thing).map(|by| Use {
        by,
        relation: if by.aggregate() == Aggregate::BudgetPolicy {
            Relation::Budgets
        } else {
            Relation::Limits
        },
    });
    others(state, thing).chain(policies)
}

/// What refers to a thing, but for policies.
fn others(state: &Organisation, thing: Stream) -> Box<dyn Iterator<Item = Use> + '_> {
    match thing {
        Stream::ProviderAccount(id) => {
            let models = state.models_of(id).map(|it| Use {
                by: Stream::Model(it.id),
                relation: Relation::ModelOf,
            });
            Box::new(models.chain(opened(state, ModelRef::ProviderAccount(id))))
        }
        Stream::Model(id) => {
            let routes = state.virtual_models_over(id).map(|it| Use {
                by: Stream::VirtualModel(it.id),
                relation: Relation::RoutesTo,
            });
            Box::new(routes.chain(opened(state, ModelRef::Model(id))))
        }
        Stream::VirtualModel(id) => Box::new(opened(state, ModelRef::VirtualModel(id))),
        Stream::User(id) => {
            let teams = state.teams_of(id).map(|(team, _)| Use {
                by: Stream::Team(team.id),
                relation: Relation::HasMember,
            });
            let owned = owned(state, Owner::User(id));
            Box::new(owned.chain(granted(state, Subject::User(id))).chain(teams))
        }
        Stream::VirtualAccount(id) => {
            let owned = owned(state, Owner::VirtualAccount(id));
            Box::new(owned.chain(granted(state, Subject::VirtualAccount(id))))
        }
        Stream::Key(id) => Box::new(granted(state, Subject::Key(id))),
        Stream::Team(id) => {
            let members = state.members_of(id).map(|(user, _)| Use {
                by: Stream::User(user),
                relation: Relation::MemberOf,
            });
            Box::new(granted(state, Subject::Team(id)).chain(members))
        }
        Stream::Log
        | Stream::Grant(_)
        | Stream::Operator(_)
        | Stream::RateLimitPolicy(_)
        | Stream::BudgetPolicy(_)
        | Stream::BudgetAlert(_)
        | Stream::Settings => Box::new(std::iter::empty()),
    }
}

fn owned(state: &Organisation, owner: Owner) -> impl Iterator<Item = Use> + '_ {
    state.keys_of(owner).map(|it| Use {
        by: Stream::Key(it.id),
        relation: Relation::KeyOf,
    })
}

fn granted(state: &Organisation, subject: Subject) -> impl Iterator<Item = Use> + '_ {
    state.grants_of(subject).map(|it| Use {
        by: Stream::Grant(it.id),
        relation: Relation::GrantedTo,
    })
}

fn opened(state: &Organisation, model: ModelRef) -> impl Iterator<Item = Use> + '_ {
    state.grants_on(model).map(|it| Use {
        by: Stream::Grant(it.id),
        relation: Relation::Opens,
    })
}

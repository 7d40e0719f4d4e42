//! The business rules, pure: a state and a command in, events or a rejection out.
//!
//! No clock, no chance, no I/O: time, ids, hashes and references to ciphertexts stand in the command. A command
//! that asks for what already is so changes nothing, and yields no event.

mod command;
mod decide;
mod rejection;
mod uses;

pub(crate) use self::decide::{can_be_repriced, full_name, routing_fault};
pub use self::{
    command::{
        BudgetAlertCommand, BudgetPolicyCommand, BudgetUse, Command, Fingerprints, GrantCommand,
        KeyCommand, LogCommand, ModelCommand, OperatorCommand, PolicyCommand,
        ProviderAccountCommand, RateLimitPolicyCommand, SealedCredential, SettingsCommand,
        TeamCommand, UserCommand, VirtualAccountCommand, VirtualModelCommand,
    },
    decide::decide,
    rejection::{
        PolicyFault, Rejection, RejectionOutcome, RepricingFault, RoutingFault, SettingFault,
        UsedBy,
    },
    uses::{Relation, Use, uses},
};

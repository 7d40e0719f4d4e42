//! Documents of the formats that users bring from other gateways, as what they are in Sluice.
//!
//! | `type` | what it declares |
//! |---|---|
//! | `gateway-load-balancing-config` | a virtual model for each model that a rule names |
//! | `provider-account/virtual-model` | virtual models, each by its path (`group/name`) and, where it has one, by its slug |
//! | `virtual-account` | a virtual account, its token as a key, its permissions as a grant |
//! | `gateway-rate-limiting-config` | a rate-limit policy for each rule |
//! | `gateway-budget-config` | a budget policy for each rule |
//!
//! Fields have the names that they have there. What Sluice has not is refused where it stands, never left out: a document
//! that is taken does what it says. What a format has no words for stays as it is: limits, deadlines, what is switched off.
//!
//! - `form`: how a document is read field by field;
//! - `targets`: a routing, which both kinds of virtual models have;
//! - `rules`, `groups`, `accounts`, `limits`, `budgets`: one kind of document each;
//! - `policies`: the rules of those that become policies.

mod accounts;
mod budgets;
mod form;
mod groups;
mod limits;
mod policies;
mod rules;
mod targets;

use std::collections::BTreeSet;

use events_schema::{
    events::{ModelType, RateLimit},
    names::{Slug, VirtualModelName},
    time::Timestamp,
};

pub(super) use self::{
    budgets::{Counts, UNITS as BUDGET_UNITS},
    form::At,
    limits::UNITS as RATE_LIMIT_UNITS,
    policies::{
        BroughtModelRef, BroughtOverride, BroughtPolicy, BroughtValue, BroughtWhen, Named, counted,
    },
    targets::{Routing, part},
};
use super::{
    document::{BudgetLimit, Grant},
    node::Node,
    read::Fault,
};

/// What documents of other formats declare.
#[derive(Debug, Default)]
pub(super) struct Brought<'d> {
    pub(super) virtual_models: Vec<BroughtModel<'d>>,
    pub(super) virtual_accounts: Vec<BroughtAccount<'d>>,
    /// In the order in which they apply; `None`: there is no document of them.
    pub(super) rate_limit_policies: Option<Vec<BroughtPolicy<'d, RateLimit>>>,
    /// Likewise.
    pub(super) budget_policies: Option<Vec<BroughtBudget<'d>>>,
}

/// A budget policy that a rule declares, as far as one can.
#[derive(Debug)]
pub(super) struct BroughtBudget<'d> {
    pub(super) policy: BroughtPolicy<'d, BudgetLimit>,
    /// At how many percent of a limit something is said.
    pub(super) alerts: BTreeSet<u8>,
}

/// Where something is declared: where it stands, and where those of its fields do that are called otherwise there.
#[derive(Debug, Clone)]
pub(super) struct Origin<'d> {
    whole: At<'d>,
    fields: Vec<(&'static str, At<'d>)>,
}

impl<'d> Origin<'d> {
    fn new(whole: &At<'d>, fields: Vec<(&'static str, At<'d>)>) -> Self {
        Self {
            whole: whole.clone(),
            fields,
        }
    }

    /// What is wrong with a field of it, by the name that the field has in Sluice's own documents.
    pub(super) fn fault(&self, field: Option<&str>, message: String) -> Fault {
        let named = self.fields.iter().find(|(name, _)| Some(*name) == field);
        named.map_or(&self.whole, |(_, at)| at).wrong(message)
    }

    /// Where its fields stand, each by the name that it has in Sluice.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, Fault)> {
        let fields = self.fields.iter();
        fields.map(|(name, at)| (*name, at.wrong(String::new())))
    }
}

/// A virtual model that a document of another format declares, as far as one can.
#[derive(Debug)]
pub(super) struct BroughtModel<'d> {
    pub(super) name: VirtualModelName,
    pub(super) routing: Routing,
    pub(super) origin: Origin<'d>,
    /// Where its routing stands.
    pub(super) routing_at: At<'d>,
    /// What each of its targets must take, where the document says so.
    pub(super) types: BTreeSet<ModelType>,
}

/// A virtual account that a document of another format declares, as far as one can.
#[derive(Debug)]
pub(super) struct BroughtAccount<'d> {
    pub(super) name: Slug,
    pub(super) origin: Origin<'d>,
    /// When its token ends; `None`: never.
    pub(super) expires_at: Option<Timestamp>,
    /// Where that stands.
    pub(super) token: Origin<'d>,
    /// All provider accounts that it may use, also none of them; `None`: nothing is said of them.
    pub(super) permissions: Option<(Grant, Origin<'d>)>,
}

/// Reads them all: what they declare, and all that is wrong with them.
pub(super) fn read(documents: &[Node]) -> (Brought<'_>, Vec<Fault>) {
    let (mut brought, mut faults) = (Brought::default(), Vec::new());
    let mut rules = rules::Rules::default();
    let (mut limits, mut budgets) = (policies::Ids::default(), policies::Ids::default());
    for node in documents {
        let at = At::document(node);
        let Some(kind) = at.field("type") else {
            continue;
        };
        match kind.text() {
            Ok("gateway-load-balancing-config") => rules.read(&at, &mut brought, &mut faults),
            Ok("provider-account/virtual-model") => groups::read(&at, &mut brought, &mut faults),
            Ok("virtual-account") => accounts::read(&at, &mut brought, &mut faults),
            Ok("gateway-rate-limiting-config") => {
                limits::read(&at, &mut limits, &mut brought, &mut faults);
            }
            Ok("gateway-budget-config") => {
                budgets::read(&at, &mut budgets, &mut brought, &mut faults);
            }
            Ok(other @ ("tenant-budget-config" | "team-budget-config")) => {
                faults.push(kind.wrong(format!(
                    "Documents of the type '{other}' are not read: in that format each budget that matches a request must \
                     have room for it, and here the first that matches decides. Write its `name` as the `id` of a rule of a \
                     gateway-budget-config, whose rules stand in the order in which they decide, and the rest as it is."
                )));
            }
            Ok(other) => faults.push(kind.wrong(format!(
                "Documents of the type '{other}' are not read. Those of Sluice's own begin with `sluice: v1`; others are \
                 gateway-load-balancing-config, gateway-rate-limiting-config, gateway-budget-config, \
                 provider-account/virtual-model and virtual-account."
            ))),
            Err(message) => faults.push(kind.wrong(message)),
        }
    }
    (brought, faults)
}

//! What the screens of rate-limit policies and of budgets share: how a rule is filled in, what is told of it in a row, and what
//! can be done to a policy of either sort.

mod chosen;
mod draft;
mod fields;
mod limits;
mod orders;
mod preview;
mod told;

pub(crate) use self::draft::{HasRule, Parts, RuleDraft, refused};
pub(crate) use self::fields::{FIELDS, rule_fields};
pub(crate) use self::limits::{Choices, Limit, choices, limit_fields};
pub(crate) use self::orders::{Orders, Policy};
pub(crate) use self::preview::{Edited, Sort, TryEdited, TryPolicies};
pub(crate) use self::told::{all_but, limits_told, never, state};

//! The console's own building blocks, on PatternFly's styles.
//!
//! PatternFly's components for Yew are used where they need no inline style: the content security policy
//! forbids `style` attributes. What they do not offer, or only so, is here.

pub(crate) mod button;
pub(crate) mod chart;
pub(crate) mod chooser;
pub(crate) mod confirm;
pub(crate) mod copy;
pub(crate) mod dialog;
pub(crate) mod diff;
pub(crate) mod draft;
pub(crate) mod field;
pub(crate) mod filter;
pub(crate) mod focus;
pub(crate) mod heading;
pub(crate) mod label;
pub(crate) mod link;
pub(crate) mod listing;
pub(crate) mod menu;
pub(crate) mod moment;
pub(crate) mod paging;
pub(crate) mod reference;
pub(crate) mod rename;
pub(crate) mod secret;
pub(crate) mod toggle;
pub(crate) mod uses;

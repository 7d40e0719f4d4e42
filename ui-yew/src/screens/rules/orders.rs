//! What can be done to a policy of either sort, beside changing its rule.

use std::rc::Rc;

use events_schema::api::commands::NewCommand;

use crate::widgets::confirm::Question;
use crate::widgets::rename::OneText;

/// A policy of either sort.
pub(crate) struct Policy<'p> {
    pub(crate) name: &'p str,
    pub(crate) order: u32,
    pub(crate) disabled: bool,
    /// What its place among the others decides, in a sentence.
    pub(crate) of_order: &'static str,
    /// What happens without it, in a sentence.
    pub(crate) without: &'static str,
}

/// The commands for it.
pub(crate) struct Orders {
    pub(crate) rename: Rc<dyn Fn(String) -> NewCommand>,
    pub(crate) place: Rc<dyn Fn(u32) -> NewCommand>,
    pub(crate) enable: NewCommand,
    pub(crate) disable: NewCommand,
    pub(crate) delete: NewCommand,
}

impl Policy<'_> {
    /// Its other name.
    pub(crate) fn rename(&self, orders: &Orders) -> OneText {
        OneText {
            title: format!("Rename {}", self.name),
            consequence: "Only people see the name.",
            fields: &["name", "why"],
            label: "Name",
            kind: "text",
            now: self.name.to_owned(),
            command: Rc::clone(&orders.rename),
        }
    }

    /// Its other place.
    pub(crate) fn place(&self, orders: &Orders) -> OneText {
        let place = Rc::clone(&orders.place);
        OneText {
            title: format!("Change the order of {}", self.name),
            consequence: self.of_order,
            fields: &["order", "why"],
            label: "Order",
            kind: "number",
            now: self.order.to_string(),
            command: Rc::new(move |order| place(order.parse().unwrap_or(u32::MAX))),
        }
    }

    /// Whether it matches requests.
    pub(crate) fn on_off(&self, orders: &Orders) -> Question {
        if self.disabled {
            Question {
                title: format!("Enable {}?", self.name),
                consequence: "It matches requests again.",
                action: "Enable",
                danger: false,
                of: None,
                command: orders.enable.clone(),
            }
        } else {
            Question {
                title: format!("Disable {}?", self.name),
                consequence: "It matches no request until it is enabled again.",
                action: "Disable",
                danger: true,
                of: None,
                command: orders.disable.clone(),
            }
        }
    }

    /// Its end.
    pub(crate) fn delete(&self, orders: &Orders) -> Question {
        Question {
            title: format!("Delete {}?", self.name),
            consequence: self.without,
            action: "Delete",
            danger: true,
            of: None,
            command: orders.delete.clone(),
        }
    }
}

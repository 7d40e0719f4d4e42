//! Why a request had no answer that can be shown.

use std::fmt;

use events_schema::api::problem::{DocumentFault, Problem};

/// Why a request failed, as far as the console treats it differently.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// There is no session, or no longer one.
    SignedOut,
    /// The session may not do this.
    Forbidden(String),
    /// There is no such thing.
    Missing(String),
    /// The command or the question was understood and refused.
    Rejected(Rejection),
    /// The control plane could not be reached.
    Unreachable,
    /// The control plane answered, but could not help now.
    Unavailable(String),
    /// The answer was not what this console understands.
    Unreadable(String),
}

/// A refusal, to be shown at the field it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// What is wrong, worded for people.
    pub(crate) detail: String,
    /// The field of the command that is wrong, where it is one.
    pub(crate) field: Option<String>,
    /// What is wrong with a document, by line.
    pub(crate) faults: Vec<DocumentFault>,
}

// === impl Failure ===

impl Failure {
    /// What a status and the problem document with it come to.
    pub(super) fn from_problem(status: u16, problem: Option<Problem>) -> Self {
        let (detail, field, faults) = match problem {
            Some(problem) => (problem.detail, problem.field, problem.faults),
            None => (
                format!("the control plane answered with HTTP {status}"),
                None,
                Vec::new(),
            ),
        };
        match status {
            401 => Self::SignedOut,
            403 => Self::Forbidden(detail),
            404 => Self::Missing(detail),
            400..500 => Self::Rejected(Rejection {
                detail,
                field,
                faults,
            }),
            _ => Self::Unavailable(detail),
        }
    }

    /// The failure as a refusal to be shown in a form.
    pub(crate) fn into_rejection(self) -> Rejection {
        match self {
            Self::Rejected(rejection) => rejection,
            other => Rejection {
                detail: other.to_string(),
                field: None,
                faults: Vec::new(),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut => f.write_str("your session has ended: sign in again"),
            Self::Forbidden(detail) | Self::Missing(detail) | Self::Unavailable(detail) => {
                f.write_str(detail)
            }
            Self::Rejected(rejection) => f.write_str(&rejection.detail),
            Self::Unreachable => f.write_str(
                "the control plane cannot be reached: check that it runs, then try again",
            ),
            Self::Unreadable(what) => {
                write!(f, "the control plane's answer cannot be read: {what}")
            }
        }
    }
}

// === impl Rejection ===

impl Rejection {
    /// What is wrong with this field, if it is this one.
    pub(crate) fn of_field(&self, name: &str) -> Option<&str> {
        let field = self.field.as_deref()?;
        // A list's item (`targets[1].weight`) belongs to the list.
        let is_it = field == name
            || field
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['[', '.']));
        is_it.then_some(self.detail.as_str())
    }

    /// What is wrong, when none of these fields is where to show it.
    pub(crate) fn beside(&self, fields: &[&str]) -> Option<&str> {
        let shown = fields.iter().any(|field| self.of_field(field).is_some());
        (!shown).then_some(self.detail.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(field: Option<&str>) -> Rejection {
        Rejection {
            detail: "the name is taken".to_owned(),
            field: field.map(str::to_owned),
            faults: Vec::new(),
        }
    }

    #[test]
    fn a_refusal_is_shown_at_its_field_and_nowhere_else() {
        let taken = rejection(Some("name"));
        assert_eq!(taken.of_field("name"), Some("the name is taken"));
        assert_eq!(taken.of_field("base_url"), None);
        assert_eq!(taken.beside(&["name", "base_url"]), None);
    }

    #[test]
    fn a_refusal_of_an_item_is_shown_at_its_list() {
        assert!(
            rejection(Some("targets[1].weight"))
                .of_field("targets")
                .is_some()
        );
        assert!(rejection(Some("target")).of_field("targets").is_none());
    }

    #[test]
    fn a_refusal_without_a_field_of_the_form_is_shown_above_it() {
        assert!(rejection(None).beside(&["name"]).is_some());
        assert!(rejection(Some("why")).beside(&["name"]).is_some());
    }

    #[test]
    fn statuses_come_to_failures() {
        assert_eq!(Failure::from_problem(401, None), Failure::SignedOut);
        assert!(matches!(
            Failure::from_problem(404, None),
            Failure::Missing(_)
        ));
        assert!(matches!(
            Failure::from_problem(409, None),
            Failure::Rejected(_)
        ));
        assert!(matches!(
            Failure::from_problem(503, None),
            Failure::Unavailable(_)
        ));
    }
}

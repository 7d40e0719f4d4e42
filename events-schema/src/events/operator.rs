//! Events of operators: the people who use the console.

use serde::{Deserialize, Serialize};

use crate::{id::TokenId, names::Label, secrets::KeyedHash, time::Timestamp};

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, operators included.
    Owner,
    /// Everything but operators.
    Operator,
    /// Reads everything but secrets, changes nothing.
    Auditor,
    /// Reads the configuration and the dashboard, changes nothing.
    Viewer,
}

/// What happens to an operator. Name and e-mail address lie in the table `people`, under the same id;
/// password and token hashes in tables of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperatorEvent {
    /// A person may use the console.
    OperatorAdded {
        /// What the person may do.
        role: Role,
        /// Fingerprint of the e-mail address, for uniqueness and sign-in.
        email: KeyedHash,
    },
    /// The person may do something else.
    OperatorRoleChanged {
        /// The new role.
        role: Role,
    },
    /// The person is called otherwise: the name in `people` was replaced, and the former one is kept nowhere.
    OperatorRenamed {},
    /// The person's e-mail address changed.
    OperatorEmailChanged {
        /// Fingerprint of the new address.
        email: KeyedHash,
    },
    /// The password was changed, by the operator or for the operator.
    OperatorPasswordChanged {},
    /// The operator may not sign in any more.
    OperatorDisabled {},
    /// The operator may sign in again.
    OperatorEnabled {},
    /// The operator is gone.
    OperatorRemoved {},
    /// The name and e-mail address of somebody who is an operator no more were erased from `people`.
    OperatorErased {},
    /// A token for automation was made and shown once.
    OperatorTokenIssued {
        /// The token's id.
        token: TokenId,
        /// What the operator calls it.
        label: Label,
        /// When it ceases to work; `None`: never.
        expires_at: Option<Timestamp>,
    },
    /// A token will never work again.
    OperatorTokenRevoked {
        /// The token's id.
        token: TokenId,
    },
}

//! Who may ask: users with passwords. Some may only read, as with ClickHouse's setting `readonly = 1`.

use std::fmt;
use std::str::FromStr;

use super::ask::Credentials;
use super::exception::{Exception, Kind};
use crate::failure::{Failure, Outcome};

/// The user that there is when nobody was named, and that may do everything.
const DEFAULT: &str = "default";
/// What a user who may only read ends with.
const READ_ONLY: &str = ":readonly";

/// Everyone who may ask.
pub(super) struct Users(Vec<User>);

struct User {
    name: String,
    /// `None`: nothing is asked for.
    password: Option<blake3::Hash>,
    rights: Rights,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Everything.
    All,
    /// To read, with the settings as they are.
    Read,
}

/// A user as named on the command line: `NAME:PASSWORD` or `NAME:PASSWORD:readonly`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct NewUser {
    name: String,
    password: String,
    rights: Rights,
}

/// Reads lists of users, with commas between them. The error tells which one is none and does not quote it: it may be a
/// piece of a password.
pub(super) fn named(lists: &[String]) -> Outcome<Vec<NewUser>> {
    let texts = lists.iter().flat_map(|list| list.split(','));
    texts
        .enumerate()
        .map(|(index, text)| {
            text.parse().map_err(|why| {
                Failure::new(format!("the list of users, number {}: {why}", index + 1))
            })
        })
        .collect()
}

// === impl Users ===

impl Users {
    /// The named ones, and `default` when it has a password or is alone.
    pub(super) fn new(password: Option<&str>, named: Vec<NewUser>) -> Self {
        let hash = |password: &str| blake3::hash(password.as_bytes());
        let default = (password.is_some() || named.is_empty()).then(|| User {
            name: DEFAULT.to_owned(),
            password: password.map(hash),
            rights: Rights::All,
        });
        let named = named.into_iter().map(|user| User {
            password: Some(hash(&user.password)),
            name: user.name,
            rights: user.rights,
        });
        Self(default.into_iter().chain(named).collect())
    }

    /// What whoever asks may do.
    pub(super) fn authenticate(&self, credentials: &Credentials) -> Result<Rights, Exception> {
        let Credentials { user, password } = credentials;
        let found = self.0.iter().find(|known| known.name == *user);
        if let Some(known) = found
            && known.takes(password)
        {
            return Ok(known.rights);
        }
        if password.is_empty() && user == DEFAULT && found.is_some() {
            let message = "default: Authentication failed: password is required.";
            return Err(Exception::new(Kind::RequiredPassword, message));
        }
        let message = format!(
            "{user}: Authentication failed: password is incorrect, or there is no user with such name."
        );
        Err(Exception::new(Kind::AuthenticationFailed, message))
    }
}

// === impl User ===

impl User {
    fn takes(&self, password: &str) -> bool {
        match self.password {
            None => password.is_empty(),
            // Comparing hashes takes the same time wherever they differ.
            Some(expected) => blake3::hash(password.as_bytes()) == expected,
        }
    }
}

// === impl NewUser ===

impl FromStr for NewUser {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, rights) = match text.strip_suffix(READ_ONLY) {
            Some(text) => (text, Rights::Read),
            None => (text, Rights::All),
        };
        match text.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok(Self {
                name: name.to_owned(),
                password: password.to_owned(),
                rights,
            }),
            _ => Err(
                "a user is NAME:PASSWORD or NAME:PASSWORD:readonly, and a password has no comma",
            ),
        }
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(users: &Users, user: &str, password: &str) -> Result<Rights, u32> {
        let credentials = Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        users
            .authenticate(&credentials)
            .map_err(|error| error.code())
    }

    #[test]
    fn users_have_passwords_and_rights() {
        let named = ["writer:w", "reader:r:e:readonly"].map(|text| text.parse().unwrap());
        let users = Users::new(Some("d"), named.into());
        assert_eq!(ask(&users, "default", "d"), Ok(Rights::All));
        assert_eq!(ask(&users, "writer", "w"), Ok(Rights::All));
        assert_eq!(ask(&users, "reader", "r:e"), Ok(Rights::Read));
        assert_eq!(ask(&users, "default", ""), Err(194));
        assert_eq!(ask(&users, "reader", ""), Err(516));
        assert_eq!(ask(&users, "reader", "w"), Err(516));
        assert_eq!(ask(&users, "nobody", ""), Err(516));
    }

    #[test]
    fn default_needs_no_password_only_when_nothing_was_said() {
        assert_eq!(
            ask(&Users::new(None, vec![]), "default", ""),
            Ok(Rights::All)
        );
        let named = || vec!["writer:w".parse().unwrap()];
        assert_eq!(ask(&Users::new(None, named()), "default", ""), Err(516));
    }

    #[test]
    fn a_list_that_is_not_understood_is_not_quoted() {
        let read = |list: &str| named(&[list.to_owned()]);
        let users = read("reader:r:readonly,writer:w").unwrap();
        assert_eq!(format!("{users:?}"), "[reader, writer]");
        assert_eq!(named(&[]).unwrap(), []);
        for list in ["reader:sec,ret", "ret", "reader:r,ret:", ":ret,reader:sec"] {
            let said = read(list).unwrap_err().to_string();
            assert!(!said.contains("sec") && !said.contains("ret"), "{said}");
        }
    }

    #[test]
    fn what_is_no_user_is_refused_and_a_user_is_shown_without_its_password() {
        for text in ["", "name", "name:", ":password", "name:readonly"] {
            assert!(text.parse::<NewUser>().is_err(), "{text}");
        }
        let user: NewUser = "reader:secret:readonly".parse().unwrap();
        assert_eq!(format!("{user:?}"), "reader");
    }
}

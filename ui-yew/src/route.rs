//! All screens of the console, in one enum, with all that the shell must know of each.
#![expect(
    unreachable_pub,
    reason = "the derived `Target` writes public mappers for each screen"
)]

use patternfly_yew::prelude::Icon;
use yew_nested_router::prelude::*;

/// A screen: what the path in the address bar stands for.
#[derive(Debug, Clone, PartialEq, Eq, Target)]
pub(crate) enum Screen {
    /// Requests, tokens, cost, errors and latency over time.
    #[target(index)]
    Dashboard,
    /// Requests, one by one.
    Requests,
    /// One request.
    #[target(rename = "requests")]
    Request {
        /// Its id.
        id: String,
    },
    /// What was refused, and by what.
    Refusals,
    /// Chat with a model.
    Playground,
    /// Accounts at providers.
    #[target(rename = "provider-accounts")]
    ProviderAccounts,
    /// Models on those accounts.
    Models,
    /// Names that route to several models.
    #[target(rename = "virtual-models")]
    VirtualModels,
    /// People who own keys.
    Users,
    /// Users who may use the same models.
    Teams,
    /// Owners of keys that are no person.
    #[target(rename = "virtual-accounts")]
    VirtualAccounts,
    /// API keys.
    Keys,
    /// Who may use which model.
    Access,
    /// How much may be used in a while.
    #[target(rename = "rate-limit-policies")]
    Policies,
    /// How much may be spent by the calendar.
    #[target(rename = "budget-policies")]
    Budgets,
    /// How limits and budgets stand.
    #[target(rename = "limit-usage")]
    LimitUsage,
    /// Every event there ever was.
    History,
    /// The history of one thing.
    #[target(rename = "history-of")]
    HistoryOf {
        /// What kind of thing.
        aggregate: String,
        /// The thing's id; a segment of its own, because a dot in a path would name a file.
        id: String,
    },
    /// What there was as of a moment.
    State,
    /// What each gateway serves.
    Gateways,
    /// The configuration as one document.
    Configuration,
    /// The API, as it describes itself.
    #[target(rename = "api-reference")]
    Reference,
    /// Who may use the console.
    Operators,
    /// What holds for the whole organisation.
    Settings,
    /// The operator's own password, sessions and tokens.
    Account,
}

/// A part of the navigation.
pub(crate) struct Group {
    /// Its heading.
    pub(crate) title: &'static str,
    /// What it leads to.
    pub(crate) screens: &'static [Screen],
}

/// The navigation, from top to bottom.
pub(crate) const NAVIGATION: [Group; 4] = [
    Group {
        title: "Observe",
        screens: &[
            Screen::Dashboard,
            Screen::Requests,
            Screen::Refusals,
            Screen::LimitUsage,
            Screen::Playground,
        ],
    },
    Group {
        title: "Models",
        screens: &[
            Screen::ProviderAccounts,
            Screen::Models,
            Screen::VirtualModels,
        ],
    },
    Group {
        title: "Access",
        screens: &[
            Screen::Users,
            Screen::Teams,
            Screen::VirtualAccounts,
            Screen::Keys,
            Screen::Access,
            Screen::Policies,
            Screen::Budgets,
        ],
    },
    Group {
        title: "System",
        screens: &[
            Screen::History,
            Screen::State,
            Screen::Gateways,
            Screen::Configuration,
            Screen::Reference,
            Screen::Operators,
            Screen::Settings,
        ],
    },
];

// === impl Screen ===

impl Screen {
    /// What the navigation, the heading and the window's title call it.
    pub(crate) const fn title(&self) -> &'static str {
        match self {
            Self::Dashboard => "Dashboard",
            Self::Requests => "Requests",
            Self::Request { .. } => "Request",
            Self::Refusals => "Refusals",
            Self::Playground => "Playground",
            Self::ProviderAccounts => "Provider accounts",
            Self::Models => "Models",
            Self::VirtualModels => "Virtual models",
            Self::Users => "Users",
            Self::Teams => "Teams",
            Self::VirtualAccounts => "Virtual accounts",
            Self::Keys => "API keys",
            Self::Access => "Access grants",
            Self::Policies => "Rate-limit policies",
            Self::Budgets => "Budgets",
            Self::LimitUsage => "Limits in use",
            Self::History => "History",
            Self::HistoryOf { .. } => "History of one thing",
            Self::State => "State",
            Self::Gateways => "Gateways",
            Self::Configuration => "Configuration file",
            Self::Reference => "API reference",
            Self::Operators => "Operators",
            Self::Settings => "Settings",
            Self::Account => "My account",
        }
    }

    /// One sentence below the heading.
    pub(crate) const fn purpose(&self) -> &'static str {
        match self {
            Self::Dashboard => {
                "What passes through the gateways: traffic, cost, errors and latency."
            }
            Self::Requests => {
                "Every request that passed through the gateways: who asked, what answered, what it took."
            }
            Self::Request { .. } => "Everything that the ledger knows of one request.",
            Self::Refusals => {
                "What was refused, by which policy, for whom and how often; and what policies would have refused that only audit."
            }
            Self::Playground => {
                "Talk to a model through the gateway, exactly as your applications do."
            }
            Self::ProviderAccounts => {
                "Your accounts at LLM providers. Credentials are sealed: only gateways can read them."
            }
            Self::Models => "Models on your provider accounts, with what they cost.",
            Self::VirtualModels => {
                "One name for several models: traffic by weight, and fallback when a target fails."
            }
            Self::Users => "People who own API keys.",
            Self::Teams => {
                "Users who may use the same models: what is granted to a team, its members may use."
            }
            Self::VirtualAccounts => "Applications and services that own API keys.",
            Self::Keys => {
                "Keys that applications present to the gateway. Each is shown once, when it is issued."
            }
            Self::Access => "Who may use which models.",
            Self::Policies => "How many requests or tokens may be used in a while.",
            Self::Budgets => {
                "How much may be spent, or how many tokens used, in a day, a week, a month or a quarter."
            }
            Self::LimitUsage => {
                "How much of each limit and budget is used, over all gateways, as it changes: the fullest first."
            }
            Self::History => {
                "Every change there ever was, who made it and why. Nothing can be edited or removed."
            }
            Self::HistoryOf { .. } => "Every change of one thing, from its beginning.",
            Self::State => {
                "Everything that there was as of any moment, and what has become of it since."
            }
            Self::Gateways => {
                "Which position of the history each gateway serves, and the digest that proves it."
            }
            Self::Configuration => {
                "Everything that this console changes, as one YAML document: look at the difference, then apply it."
            }
            Self::Settings => {
                "What holds for the whole organisation: its name, how long request records are kept, how long sessions last."
            }
            Self::Reference => {
                "Every operation of the control plane's API, from the document that it serves itself."
            }
            Self::Operators => "People who may use this console, and what each may do.",
            Self::Account => "Your name, your password, your sessions and your automation tokens.",
        }
    }

    /// Its sign in the navigation.
    pub(crate) const fn icon(&self) -> Icon {
        match self {
            Self::Dashboard => Icon::TachometerAlt,
            Self::Requests | Self::Request { .. } => Icon::List,
            Self::Refusals => Icon::Ban,
            Self::Playground => Icon::Play,
            Self::ProviderAccounts => Icon::Cubes,
            Self::Models => Icon::Microchip,
            Self::VirtualModels => Icon::CodeBranch,
            Self::Users => Icon::User,
            Self::Teams => Icon::Users,
            Self::VirtualAccounts => Icon::Cube,
            Self::Keys => Icon::Key,
            Self::Access => Icon::LockOpen,
            Self::Policies => Icon::ClipboardCheck,
            Self::Budgets => Icon::BalanceScale,
            Self::LimitUsage => Icon::InProgress,
            Self::History | Self::HistoryOf { .. } => Icon::History,
            Self::State => Icon::Database,
            Self::Gateways => Icon::Network,
            Self::Configuration => Icon::File,
            Self::Reference => Icon::Code,
            Self::Operators => Icon::Cog,
            Self::Settings => Icon::Wrench,
            Self::Account => Icon::User,
        }
    }

    /// The screen above it, for the breadcrumbs.
    pub(crate) const fn parent(&self) -> Option<Self> {
        match self {
            Self::HistoryOf { .. } => Some(Self::History),
            Self::Request { .. } => Some(Self::Requests),
            Self::Dashboard
            | Self::Requests
            | Self::Refusals
            | Self::State
            | Self::Reference
            | Self::Playground
            | Self::ProviderAccounts
            | Self::Models
            | Self::VirtualModels
            | Self::Users
            | Self::Teams
            | Self::VirtualAccounts
            | Self::Keys
            | Self::Access
            | Self::Policies
            | Self::Budgets
            | Self::LimitUsage
            | Self::History
            | Self::Gateways
            | Self::Configuration
            | Self::Operators
            | Self::Settings
            | Self::Account => None,
        }
    }

    /// The history of the thing with this stream (`<aggregate>.<id>`).
    pub(crate) fn history_of(stream: &str) -> Self {
        match stream.split_once('.') {
            Some((aggregate, id)) => Self::HistoryOf {
                aggregate: aggregate.to_owned(),
                id: id.to_owned(),
            },
            None => Self::History,
        }
    }

    /// Whether the navigation marks `entry` while this screen is shown.
    pub(crate) fn is_within(&self, entry: &Self) -> bool {
        self == entry || self.parent().as_ref() == Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_screen_in_the_navigation_has_a_path_of_its_own_that_leads_back_to_it() {
        let screens = NAVIGATION.iter().flat_map(|group| group.screens);
        for screen in screens {
            let path = screen.render_path();
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            assert_eq!(
                Screen::parse_path(&segments).as_ref(),
                Some(screen),
                "{path:?}"
            );
        }
    }

    #[test]
    fn the_history_of_one_thing_lies_within_the_history() {
        let one = Screen::history_of("key.00");
        assert!(one.is_within(&Screen::History) && !one.is_within(&Screen::Keys));
        assert_eq!(
            Screen::parse_path(&["history-of", "key", "00"]),
            Some(one.clone())
        );
        assert_eq!(one.render_path(), ["history-of", "key", "00"]);
    }

    #[test]
    fn one_request_lies_below_the_requests() {
        let one = Screen::Request {
            id: "00".to_owned(),
        };
        assert!(one.is_within(&Screen::Requests) && !one.is_within(&Screen::Dashboard));
        assert_eq!(one.render_path(), ["requests", "00"]);
        assert_eq!(Screen::parse_path(&["requests", "00"]), Some(one));
        assert_eq!(Screen::parse_path(&["requests"]), Some(Screen::Requests));
    }
}

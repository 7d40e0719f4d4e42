//! What holds for the whole organisation: its name, how long request records are kept, how long sessions last.

mod numbers;

use std::rc::Rc;

use events_schema::api::commands::NewCommand;
use events_schema::api::resources::SettingsItem;
use events_schema::state::{Retention, SessionBounds};
use numbers::{Asked, ChangeNumbers, Number};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::format;
use crate::organisation::use_settings;
use crate::route::Screen;
use crate::session::use_session;
use crate::widgets::button::{Button, Variant};
use crate::widgets::confirm::{Confirm, Question};
use crate::widgets::dialog::{Dialogs, use_dialogs};
use crate::widgets::heading::Heading;
use crate::widgets::listing::Row;
use crate::widgets::rename::{OneText, Rename};

/// The headings of a past state's settings.
pub(crate) const COLUMNS: &[&str] = &["Settings", "Requests kept", "Sums kept", "Sessions"];

/// The settings as a row among other things of a past state.
pub(crate) fn row(item: &SettingsItem) -> Row {
    let name = item
        .organisation
        .clone()
        .unwrap_or_else(|| "no name".to_owned());
    let (kept, sessions) = (item.retention, item.sessions);
    let (idle, longest) = (
        counted(sessions.idle_minutes, "minute"),
        counted(sessions.longest_hours, "hour"),
    );
    Row {
        id: "settings".to_owned(),
        cells: vec![
            html!(name.clone()),
            html!(counted(kept.requests_days, "day")),
            html!(counted(kept.sums_days, "day")),
            html!(format!("{idle} unused, {longest} at most")),
        ],
        name,
        actions: Vec::new(),
    }
}

/// Which dialog is open.
#[derive(Clone, PartialEq)]
enum Open {
    Name(OneText),
    NoName(Question),
    Numbers(Rc<Asked>),
}

/// The settings, with what an owner may change.
#[component]
pub(crate) fn Settings() -> Html {
    let may_change = use_session().may_change_settings();
    let settings = use_settings();
    let Dialogs { open, show, close } = use_dialogs::<Open>();
    let none = || html!(<EmptyState title="No settings" icon={Icon::Wrench} />);
    html!(
        <>
            <Heading screen={Screen::Settings} />
            <section class="pf-v6-c-page__main-section sl-stack">
                if !may_change {
                    <Alert inline={true} r#type={AlertType::Info} title="Only an owner may change these settings." />
                }
                { settings.show(none, |item| cards(item, may_change.then_some(&show))) }
            </section>
            { open.map(|open| dialog(open, close)).unwrap_or_default() }
        </>
    )
}

fn dialog(open: Open, onclose: Callback<()>) -> Html {
    match open {
        Open::Name(asked) => html!(<Rename {asked} {onclose} />),
        Open::NoName(question) => html!(<Confirm {question} {onclose} />),
        Open::Numbers(asked) => html!(<ChangeNumbers {asked} {onclose} />),
    }
}

/// `show`: opens a dialog, for those who may change something.
fn cards(item: &SettingsItem, show: Option<&Callback<Open>>) -> Html {
    let button = |label: &'static str, open: Open| {
        let onclick = show.map(|show| show.reform(move |_: MouseEvent| open.clone()));
        let button = |onclick| html!(<Button variant={Variant::Secondary} {label} {onclick} />);
        onclick.map(button).unwrap_or_default()
    };
    let Retention {
        requests_days,
        sums_days,
    } = item.retention;
    let SessionBounds {
        idle_minutes,
        longest_hours,
    } = item.sessions;
    let name = item.organisation.clone();
    html!(
        <>
            { card("Organisation", html!(
                <>
                    { button("Rename organisation", Open::Name(rename(item))) }
                    if name.is_some() {
                        { button("Remove the name", Open::NoName(remove_name())) }
                    }
                </>
            ), html!(fact("Name", name.unwrap_or_else(|| format::NOTHING.to_owned())))) }
            { card("Request records", button("Change retention", Open::Numbers(Rc::new(retention(item.retention)))), html!(
                <>
                    { fact("Requests are kept for", counted(requests_days, "day")) }
                    { fact("Sums by the minute are kept for", counted(sums_days, "day")) }
                </>
            )) }
            { card("Console sessions", button("Change sessions", Open::Numbers(Rc::new(sessions(item.sessions)))), html!(
                <>
                    { fact("Unused, a session ends after", counted(idle_minutes, "minute")) }
                    { fact("In any case, it ends after", counted(longest_hours, "hour")) }
                </>
            )) }
        </>
    )
}

fn card(title: &'static str, actions: Html, facts: Html) -> Html {
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ title }</h2>
                <div class="sl-heading-actions">{ actions }</div>
            </div>
            <dl class="sl-facts sl-facts-wide">{ facts }</dl>
        </div>
    )
}

fn fact(name: &'static str, value: String) -> Html {
    html!(<div data-fact={name}><dt>{ name }</dt><dd>{ value }</dd></div>)
}

fn counted(count: u32, unit: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", format::count(u64::from(count)))
}

fn rename(item: &SettingsItem) -> OneText {
    OneText {
        title: "Rename the organisation".to_owned(),
        consequence: "The name stands in the masthead and in the window's title, for those who are signed in.",
        fields: &["name", "why"],
        label: "Name",
        kind: "text",
        now: item.organisation.clone().unwrap_or_default(),
        command: Rc::new(|name| NewCommand::RenameOrganisation { name: Some(name) }),
    }
}

fn remove_name() -> Question {
    Question {
        title: "Remove the organisation's name?".to_owned(),
        consequence: "Nothing else changes.",
        action: "Remove",
        danger: false,
        of: None,
        command: NewCommand::RenameOrganisation { name: None },
    }
}

fn retention(now: Retention) -> Asked {
    Asked {
        title: "Change retention",
        consequence: "What is older is deleted within minutes, and does not come back when it is kept for longer again.",
        fields: &["requests_days", "sums_days", "why"],
        numbers: [
            Number {
                name: "requests_days",
                label: "Request records, in days",
                hint: "14 to 3,650.",
                now: now.requests_days,
            },
            Number {
                name: "sums_days",
                label: "Sums by the minute, in days",
                hint: "At least as long; the dashboard's charts are drawn from them.",
                now: now.sums_days,
            },
        ],
        command: |requests_days, sums_days| NewCommand::ChangeRetention {
            requests_days,
            sums_days,
        },
    }
}

fn sessions(now: SessionBounds) -> Asked {
    Asked {
        title: "Change sessions",
        consequence: "Holds at once, also for the sessions that there are.",
        fields: &["idle_minutes", "longest_hours", "why"],
        numbers: [
            Number {
                name: "idle_minutes",
                label: "Unused, a session ends after, in minutes",
                hint: "5 to 10,080 (7 days).",
                now: now.idle_minutes,
            },
            Number {
                name: "longest_hours",
                label: "In any case, it ends after, in hours",
                hint: "1 to 2,160 (90 days).",
                now: now.longest_hours,
            },
        ],
        command: |idle_minutes, longest_hours| NewCommand::ChangeSessionBounds {
            idle_minutes,
            longest_hours,
        },
    }
}

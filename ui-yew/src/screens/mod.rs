//! The screens, one module each; dialogs lie beside the list that opens them, one file each.

mod access;
mod account;
mod budgets;
mod configuration;
mod dashboard;
mod gateways;
mod history;
mod keys;
mod limit_usage;
mod models;
mod operators;
mod playground;
mod policies;
mod provider_accounts;
mod reference;
mod refusals;
mod requests;
mod rules;
mod settings;
pub(crate) mod sign_in;
mod state;
mod teams;
pub(crate) mod users;
mod virtual_accounts;
mod virtual_models;

use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::remote;
use crate::route::Screen;
use crate::session::Session;
use crate::widgets::heading::Heading;

/// Draws the screen that the address stands for, or says that this operator may not see it.
pub(crate) fn show(screen: Option<&Screen>, session: &Session) -> Html {
    let Some(screen) = screen else {
        return html!(
            <section class="pf-v6-c-page__main-section">
                <EmptyState title="There is no such page" icon={Icon::Search}>
                    { "Choose one from the navigation." }
                </EmptyState>
            </section>
        );
    };
    if !session.may_see(screen) {
        let why = if matches!(screen, Screen::Playground) {
            "Requests to models cost money: only owners and operators may send them from here."
        } else {
            "Only owners, operators and auditors may see this."
        };
        return html!(
            <>
                <Heading screen={screen.clone()} />
                <section class="pf-v6-c-page__main-section">{ remote::forbidden(why) }</section>
            </>
        );
    }
    match screen {
        Screen::Dashboard => html!(<dashboard::Dashboard />),
        Screen::Requests => html!(<requests::Requests />),
        Screen::Request { id } => html!(<requests::one::One id={id.clone()} />),
        Screen::Refusals => html!(<refusals::RefusalsScreen />),
        Screen::Playground => html!(<playground::Playground />),
        Screen::ProviderAccounts => html!(<provider_accounts::ProviderAccounts />),
        Screen::Models => html!(<models::Models />),
        Screen::VirtualModels => html!(<virtual_models::VirtualModels />),
        Screen::Users => html!(<users::Users />),
        Screen::Teams => html!(<teams::Teams />),
        Screen::Configuration => html!(<configuration::Configuration />),
        Screen::VirtualAccounts => html!(<virtual_accounts::VirtualAccounts />),
        Screen::Keys => html!(<keys::Keys />),
        Screen::Policies => html!(<policies::Policies />),
        Screen::Budgets => html!(<budgets::Budgets />),
        Screen::Access => html!(<access::Access />),
        Screen::LimitUsage => html!(<limit_usage::LimitUsageScreen />),
        Screen::History => html!(<history::History stream={None::<AttrValue>} />),
        Screen::HistoryOf { aggregate, id } => {
            html!(<history::History stream={Some(AttrValue::from(format!("{aggregate}.{id}")))} />)
        }
        Screen::Operators => html!(<operators::Operators />),
        Screen::Settings => html!(<settings::Settings />),
        Screen::State => html!(<state::State />),
        Screen::Reference => html!(<reference::Reference />),
        Screen::Gateways => html!(<gateways::Gateways />),
        Screen::Account => html!(<account::Account />),
    }
}

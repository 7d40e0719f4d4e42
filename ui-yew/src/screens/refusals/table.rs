//! Who was refused by what, one group a row; each leads to its requests.

use events_schema::api::analytics::{RefusalEffect, RefusalItem, Refusals};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::format;
use crate::query::Query;
use crate::route::Screen;
use crate::widgets::label;
use crate::widgets::link::To;
use crate::widgets::menu::HistoryLink;
use crate::widgets::moment::Ago;

/// The headings.
const COLUMNS: [&str; 5] = ["What happened", "By", "For whom", "Requests", "Last"];

/// What people call an effect.
pub(super) const fn effect_name(effect: RefusalEffect) -> &'static str {
    match effect {
        RefusalEffect::Refused => "Refused",
        RefusalEffect::Audited => "Would be refused",
        RefusalEffect::Diverted => "Led elsewhere",
    }
}

/// The table. `query`: the screen's filters, of which the requests have the time and the owner.
pub(super) fn table(refusals: &Refusals, query: &Query) -> Html {
    html!(
        <>
            <table class="pf-v6-c-table pf-m-compact pf-m-grid-md" role="grid" aria-label="Refusals">
                <thead class="pf-v6-c-table__thead">
                    <tr class="pf-v6-c-table__tr" role="row">
                        { for COLUMNS.iter().map(|column| html!(<th class="pf-v6-c-table__th" role="columnheader" scope="col">{ *column }</th>)) }
                    </tr>
                </thead>
                <tbody class="pf-v6-c-table__tbody" role="rowgroup">{ for refusals.items.iter().map(|item| row(item, query)) }</tbody>
            </table>
            if refusals.more {
                <p class="sl-quiet sl-pad">
                    { format!("These are the {} that happened most often. Filter to see others.", refusals.items.len()) }
                </p>
            }
        </>
    )
}

fn row(item: &RefusalItem, query: &Query) -> Html {
    let color = match item.effect {
        RefusalEffect::Refused => Color::Orange,
        RefusalEffect::Audited => Color::Blue,
        RefusalEffect::Diverted => Color::Grey,
    };
    let owner = item.owner_name.clone().or_else(|| item.owner.clone());
    let last = item.last_request.to_string();
    let cells = [
        html!(<Label label={effect_name(item.effect)} {color} compact={true} />),
        by(item),
        html!(owner.unwrap_or_else(|| "Nobody who is known".to_owned())),
        html!(
            <To screen={Screen::Requests} query={requests(item, query)} class="sl-name">{ format::count(item.requests) }</To>
        ),
        html!(<To screen={Screen::Request { id: last }} class="sl-name sl-nowrap"><Ago at={item.last_at.to_chrono()} /></To>),
    ];
    let cell = |(label, cell): (&&'static str, Html)| html!(<td class="pf-v6-c-table__td" role="cell" data-label={*label}>{ cell }</td>);
    let key = format!(
        "{}{}{}",
        item.effect.as_str(),
        item.by,
        item.owner.as_deref().unwrap_or_default()
    );
    html!(
        <tr class="pf-v6-c-table__tr" role="row" key={key} data-by={by_name(item)} data-effect={item.effect.as_str()}>
            { for COLUMNS.iter().zip(cells).map(cell) }
        </tr>
    )
}

/// What stood in the way, by name.
fn by_name(item: &RefusalItem) -> String {
    let named = item.of.as_ref().and_then(|it| it.name.clone());
    named.unwrap_or_else(|| item.by.clone())
}

fn by(item: &RefusalItem) -> Html {
    let Some(of) = &item.of else {
        return html!(
            <span class="sl-labels">
                { code_told(&item.by).unwrap_or_default() }
                { label::code(&item.by) }
            </span>
        );
    };
    let kind = match of.stream.split_once('.') {
        Some(("key", _)) => "The key's own limit",
        Some(("budget_policy", _)) => "Budget",
        Some(_) | None => "Rate limit",
    };
    let name = of.name.clone().unwrap_or_else(|| "gone".to_owned());
    html!(
        <span class="sl-labels">
            <span class="sl-quiet">{ kind }</span>
            <HistoryLink {name} stream={of.stream.clone()} />
        </span>
    )
}

/// The code of an error, in words; `None`: the code says it well enough.
fn code_told(code: &str) -> Option<&'static str> {
    Some(match code {
        "invalid_api_key" => "No key that works",
        "api_key_rotated" => "A key's former secret",
        "api_key_disabled" => "A disabled key",
        "api_key_expired" => "An expired key",
        "api_key_owner_disabled" => "A disabled owner's key",
        "model_not_found" => "A model that there is not",
        "model_not_allowed" => "No grant",
        "model_disabled" => "A disabled model",
        "too_many_requests_under_way" => "Requests of the key under way",
        "overloaded" => "A full gateway",
        _ => return None,
    })
}

/// The filters of the log of requests that lead to a group.
fn requests(item: &RefusalItem, query: &Query) -> Query {
    let range = match query.get("range") {
        "" => super::DEFAULT_RANGE.name(),
        range => range,
    };
    let owner = item.owner.as_deref().unwrap_or_default();
    let all = Query::of([("range", range), ("owner", owner)]);
    if item.of.is_none() {
        return all.with("error_code", &item.by);
    }
    let all = all.with("exceeded", &item.by);
    match item.effect {
        RefusalEffect::Refused => all.with("outcome", "limit_exceeded"),
        RefusalEffect::Audited => all.with("audited", "true"),
        RefusalEffect::Diverted => all.with("audited", "false"),
    }
}

#[cfg(test)]
mod tests {
    use events_schema::api::analytics::NamedThing;
    use events_schema::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn item(effect: RefusalEffect, by: &str, of: Option<&str>) -> RefusalItem {
        RefusalItem {
            effect,
            by: by.to_owned(),
            of: of.map(|name| NamedThing {
                stream: by.replacen(':', ".", 1),
                name: Some(name.to_owned()),
            }),
            owner: Some("user:00".to_owned()),
            owner_name: None,
            requests: 1,
            last_at: Timestamp::MIN,
            last_request: Uuid::nil(),
        }
    }

    #[test]
    fn a_group_leads_to_its_requests() {
        let leads =
            |item: &RefusalItem, query: &str| requests(item, &Query::parse(query)).to_string();
        let policy = item(RefusalEffect::Refused, "rate_limit_policy:00", Some("all"));
        assert_eq!(
            leads(&policy, "?range=1h&effect=refused"),
            "range=1h&owner=user%3A00&exceeded=rate_limit_policy%3A00&outcome=limit_exceeded"
        );
        let audited = item(RefusalEffect::Audited, "budget_policy:00", Some("all"));
        assert_eq!(
            leads(&audited, ""),
            "range=24h&owner=user%3A00&exceeded=budget_policy%3A00&audited=true"
        );
        let code = item(RefusalEffect::Refused, "model_not_found", None);
        assert_eq!(
            leads(&code, ""),
            "range=24h&owner=user%3A00&error_code=model_not_found"
        );
    }

    #[test]
    fn what_stood_in_the_way_is_called_by_its_name_or_by_its_code() {
        let policy = item(RefusalEffect::Refused, "rate_limit_policy:00", Some("all"));
        assert_eq!(by_name(&policy), "all");
        let code = item(RefusalEffect::Refused, "overloaded", None);
        assert_eq!(by_name(&code), "overloaded");
        assert_eq!(code_told("overloaded"), Some("A full gateway"));
        assert_eq!(code_told("limit_exceeded"), None);
    }
}

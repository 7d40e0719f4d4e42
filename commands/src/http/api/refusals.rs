//! `/api/v1/analytics/refusals`: what was refused, by what and for whom, and what would have been. The ledger knows ids; names
//! are added here.

use axum::extract::State;
use events_schema::{
    api::analytics::{RefusalEffect, RefusalItem, Refusals},
    events::{Owner, Stream},
    time::Timestamp,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    analytics::unanswered,
    requests::{named, stream_of},
};
use crate::{
    analytics::RefusalFilter,
    http::{
        App,
        app::Answer,
        extract::{Json, Params},
        names::{Names, owner_person},
        problem::ApiError,
    },
};

/// Which refusals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RefusalParams {
    /// From when, inclusive.
    from: Timestamp,
    /// Until when, exclusive.
    to: Timestamp,
    /// Of this owner: `user:<id>` or `virtual_account:<id>`.
    owner: Option<String>,
    /// By this: `rate_limit_policy:<id>`, `budget_policy:<id>`, `key:<id>`, or the code of an error.
    by: Option<String>,
    /// With this effect alone.
    effect: Option<RefusalEffect>,
}

/// Read what was refused
///
/// And what policies would have refused that only audit, and attempts that a limit led elsewhere: by what, for whom, how often.
#[utoipa::path(get, path = "/analytics/refusals", tag = "analytics", operation_id = "list_refusals",
    params(RefusalParams),
    responses((status = 200, description = "The refusals of the time, in groups.", body = Refusals)))]
pub(super) async fn list(
    State(app): State<App>,
    Params(params): Params<RefusalParams>,
) -> Answer<Json<Refusals>> {
    let filter = params.filter()?;
    let found = app.parts().analytics.refusals(&filter).await;
    let mut refusals = found.map_err(unanswered)?;
    let control = app.control()?;
    let live = control.live();
    let people = refusals.items.iter().filter_map(owner);
    let people = people.filter_map(owner_person).collect::<Vec<_>>();
    let names = Names::read(control, &live.state, people).await?;
    for item in &mut refusals.items {
        item.owner_name = owner(item).map(|owner| names.owner(owner));
        item.of = limiting(&item.by).map(|it| named(&names, it));
    }
    Ok(Json(refusals))
}

fn owner(item: &RefusalItem) -> Option<Owner> {
    item.owner.as_deref()?.parse().ok()
}

/// The policy or key that has limits, as the ledger writes it: `<kind>:<id>`.
pub(super) fn limiting(text: &str) -> Option<Stream> {
    stream_of(text).filter(|it| {
        matches!(
            it,
            Stream::Key(_) | Stream::RateLimitPolicy(_) | Stream::BudgetPolicy(_)
        )
    })
}

/// The same, as the ledger writes it, however it was asked for: an id may come with hyphens.
pub(super) fn as_written(it: Stream) -> String {
    it.to_string().replacen('.', ":", 1)
}

impl RefusalParams {
    /// The question to the ledger, its parts checked.
    fn filter(self) -> Answer<RefusalFilter> {
        let Self {
            from,
            to,
            owner: of,
            by,
            effect,
        } = self;
        let of = match of.map(|of| of.parse::<Owner>()) {
            Some(Ok(of)) => Some(of.to_string()),
            Some(Err(error)) => return Err(ApiError::invalid("owner", error.to_string())),
            None => None,
        };
        // What is no policy and no key is the code of an error.
        let by = by.map(|by| limiting(&by).map_or(by, as_written));
        Ok(RefusalFilter {
            from,
            to,
            owner: of,
            by,
            effect,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_limits_is_told_from_the_code_of_an_error() {
        let id = "0123456789abcdef0123456789abcdef";
        for kind in ["key", "rate_limit_policy", "budget_policy"] {
            let text = format!("{kind}:{id}");
            assert_eq!(limiting(&text).map(as_written), Some(text));
        }
        for other in ["overloaded", "user:0123456789abcdef0123456789abcdef", ""] {
            assert_eq!(limiting(other), None, "{other}");
        }
    }
}

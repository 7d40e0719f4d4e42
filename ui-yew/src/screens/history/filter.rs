//! Which events are shown.

use std::fmt::Write as _;

use events_schema::events::Aggregate;
use events_schema::time::Timestamp;
use yew::prelude::*;

use crate::format;
use crate::widgets::chooser::{ChooserFilter, Fixed, List, Source};
use crate::widgets::draft::Draft;
use crate::widgets::field::{Choice, Select};
use crate::widgets::moment;
use crate::widgets::paging::encode;

/// Who can have changed something.
const ACTORS: Source = Source {
    fixed: &[
        Fixed {
            value: "system:init",
            label: "Initialisation",
            hint: "System",
        },
        Fixed {
            value: "system:command-line",
            label: "Command line",
            hint: "System",
        },
        Fixed {
            value: "system:commands",
            label: "Sluice itself",
            hint: "System",
        },
    ],
    lists: &[List::Operators],
};

/// What has been chosen; empty texts filter nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Filter {
    aggregate: String,
    actor: String,
    kind: String,
    from: String,
    to: String,
}

/// Properties of [`FilterBar`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// What has been chosen.
    pub(super) filter: Draft<Filter>,
    /// Whether the history is of one thing, so that its kind is not to choose.
    pub(super) of_one_thing: bool,
}

/// The choices.
#[component]
pub(super) fn FilterBar(props: &Props) -> Html {
    let filter = &props.filter;
    let aggregates = Aggregate::ALL.iter().map(|aggregate| Choice {
        value: aggregate.as_str().into(),
        label: format::words(aggregate.as_str()).into(),
    });
    let typed = |event: InputEvent| {
        event
            .target_unchecked_into::<web_sys::HtmlInputElement>()
            .value()
    };
    let input = |name: &'static str,
                 label: &'static str,
                 kind: &'static str,
                 value: &str,
                 oninput: Callback<String>| {
        html!(
            <label class="sl-filter">
                <span>{ label }</span>
                <span class="pf-v6-c-form-control">
                    <input type={kind} {name} value={value.to_owned()} oninput={oninput.reform(typed)}
                        placeholder={(kind == "text").then_some("key_issued")} />
                </span>
            </label>
        )
    };
    html!(
        <div class="sl-toolbar sl-filters">
            if !props.of_one_thing {
                <label class="sl-filter">
                    <span>{ "What" }</span>
                    <Select name="aggregate" placeholder="Everything" value={filter.aggregate.clone()}
                        choices={aggregates.collect::<Vec<_>>()} onchange={filter.edit(|filter: &mut Filter, text| filter.aggregate = text)} />
                </label>
            }
            <ChooserFilter name="actor" label="Who" any="Anybody" source={ACTORS} value={filter.actor.clone()}
                onchange={filter.edit(|filter: &mut Filter, text| filter.actor = text)} />
            { input("kind", "Kind of event", "text", &filter.kind, filter.edit(|filter: &mut Filter, text| filter.kind = text)) }
            { input("from", "From (UTC)", "datetime-local", &filter.from, filter.edit(|filter: &mut Filter, text| filter.from = text)) }
            { input("to", "To (UTC)", "datetime-local", &filter.to, filter.edit(|filter: &mut Filter, text| filter.to = text)) }
        </div>
    )
}

// === impl Filter ===

impl Filter {
    /// The part of the query that filters; begins with `&` or is empty.
    pub(super) fn query(&self, stream: Option<&str>) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                write!(query, "&{name}={}", encode(value)).expect("a String takes everything");
            }
        };
        let moment = |text: &str| {
            moment::parse(text)
                .flatten()
                .map(|at: Timestamp| at.to_string())
                .unwrap_or_default()
        };
        add("stream", stream.unwrap_or_default());
        if stream.is_none() {
            add("aggregate", &self.aggregate);
        }
        add("actor", &self.actor);
        add("kind", self.kind.trim());
        add("from", &moment(&self.from));
        add("to", &moment(&self.to));
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_chosen_is_asked_for() {
        assert_eq!(Filter::default().query(None), "");
        let filter = Filter {
            aggregate: "key".to_owned(),
            kind: " key_issued".to_owned(),
            ..Filter::default()
        };
        assert_eq!(filter.query(None), "&aggregate=key&kind=key_issued");
        assert_eq!(
            filter.query(Some("key.00")),
            "&stream=key.00&kind=key_issued"
        );
    }

    #[test]
    fn moments_are_asked_for_in_full() {
        let filter = Filter {
            from: "2026-11-22T12:00".to_owned(),
            ..Filter::default()
        };
        assert_eq!(filter.query(None), "&from=2026-11-22T12%3A00%3A00.000000Z");
    }
}

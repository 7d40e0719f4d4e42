//! What refers to a thing, shown before it is deleted.

use events_schema::api::resources::{Relation, UseItem, UsedBy};
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::api::{Client, Failure};
use crate::format;
use crate::remote::{Content, Remote, use_remote};

/// How many uses are named; the rest is counted.
const NAMED: usize = 8;

/// What refers to a thing; nothing, where no thing was asked about.
pub(crate) struct Uses(Option<UsedBy>);

impl Content for Uses {}

/// Asks what refers to the thing with this stream (`<aggregate>.<id>`).
#[hook]
pub(crate) fn use_uses(stream: Option<String>) -> Remote<Uses> {
    let asked = use_remote(
        stream,
        |client: Client, stream: Option<String>| async move {
            let Some(stream) = stream else {
                return Ok(Uses(None));
            };
            let used_by: Result<UsedBy, Failure> =
                client.get(&format!("/used-by?stream={stream}")).await;
            used_by.map(|used_by| Uses(Some(used_by)))
        },
    );
    asked.state
}

impl Uses {
    /// Whether something must go first.
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.as_ref().is_some_and(|it| it.blocked)
    }

    /// What refers to it, and what becomes of that.
    pub(crate) fn show(&self) -> Html {
        let Some(used_by) = self.0.as_ref().filter(|it| !it.counts.is_empty()) else {
            return Html::default();
        };
        let list = |blocks: bool| {
            let named: Vec<_> = used_by
                .uses
                .iter()
                .filter(|it| it.blocks == blocks)
                .collect();
            let counted = used_by.counts.iter().filter(|it| it.blocks == blocks);
            let all: u64 = counted.map(|it| it.count).sum();
            let shown = named.len().min(NAMED);
            let rest = all.saturating_sub(shown as u64);
            html!(
                <ul class="sl-uses">
                    { for named.iter().take(NAMED).map(|it| html!(<li key={it.stream.clone()}>{ told(it) }</li>)) }
                    if rest > 0 {
                        <li>{ format!("and {} more", format::count(rest)) }</li>
                    }
                </ul>
            )
        };
        let goes_with_it = used_by.counts.iter().any(|it| !it.blocks);
        html!(
            <>
                if used_by.blocked {
                    <Alert inline={true} r#type={AlertType::Warning} title="It is still used: this must go first">
                        { list(true) }
                    </Alert>
                }
                if goes_with_it {
                    <Alert inline={true} r#type={AlertType::Info} title="This goes with it">
                        { list(false) }
                    </Alert>
                }
            </>
        )
    }
}

/// One use in a few words: `Key laptop`, `Member Ada Lovelace`.
fn told(it: &UseItem) -> String {
    let name = it.name.as_deref().unwrap_or("(without a name)");
    let what = match it.relation {
        Relation::HasMember => "Member of".to_owned(),
        Relation::MemberOf => "Member".to_owned(),
        Relation::ModelOf
        | Relation::RoutesTo
        | Relation::Opens
        | Relation::GrantedTo
        | Relation::KeyOf
        | Relation::Limits
        | Relation::Budgets => format::words(it.aggregate.as_str()),
    };
    format!("{what}: {name}")
}

//! A difference, and what is wrong with a document.

use events_schema::api::declared::{Action, Change, FieldChange};
use events_schema::api::problem::DocumentFault;
use patternfly_yew::prelude::*;
use yew::prelude::*;

/// The changes, one below the other.
pub(super) fn difference(title: &str, changes: &[Change]) -> Html {
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ title }</h2>
                { for counts(changes).into_iter().map(|(action, count)| badge(action, &count)) }
            </div>
            <ul class="sl-rows sl-changes">{ for changes.iter().map(row) }</ul>
        </div>
    )
}

/// What is allowed, and hardly meant.
pub(super) fn warnings(warnings: &[String]) -> Html {
    let title = match warnings {
        [] => return Html::default(),
        [one] => one.clone(),
        many => format!("{} policies can match no request", many.len()),
    };
    html!(
        <Alert inline={true} r#type={AlertType::Warning} {title}>
            if warnings.len() > 1 {
                <ul class="sl-uses">{ for warnings.iter().map(|warning| html!(<li>{ warning }</li>)) }</ul>
            }
        </Alert>
    )
}

/// How many are made, changed and deleted; nothing of what there is none.
fn counts(changes: &[Change]) -> Vec<(Action, String)> {
    [
        (Action::Create, "to make"),
        (Action::Change, "to change"),
        (Action::Delete, "to delete"),
    ]
    .into_iter()
    .filter_map(|(action, what)| {
        let count = changes.iter().filter(|it| it.action == action).count();
        (count > 0).then(|| (action, format!("{count} {what}")))
    })
    .collect()
}

fn badge(action: Action, text: &str) -> Html {
    let color = match action {
        Action::Create => Color::Green,
        Action::Change => Color::Blue,
        Action::Delete => Color::Red,
    };
    html!(<Label label={text.to_owned()} {color} compact={true} />)
}

fn row(change: &Change) -> Html {
    let word = match change.action {
        Action::Create => "New",
        Action::Change => "Changed",
        Action::Delete => "Deleted",
    };
    html!(
        <li key={format!("{} {}", change.what, change.name)}>
            <div class="sl-change">
                <div>{ badge(change.action, word) }{ " " }<strong>{ &change.name }</strong>{ " " }<span class="sl-quiet">{ &change.what }</span></div>
                if !change.fields.is_empty() {
                    <dl class="sl-change-fields">{ for change.fields.iter().map(field) }</dl>
                }
            </div>
        </li>
    )
}

fn field(field: &FieldChange) -> Html {
    html!(
        <>
            <dt>{ &field.field }</dt>
            <dd>
                if let Some(before) = &field.before {
                    <del>{ before }</del>{ " " }
                }
                if let Some(after) = &field.after {
                    <ins>{ after }</ins>
                }
            </dd>
        </>
    )
}

/// What is wrong, by line.
pub(super) fn faults(faults: &[DocumentFault]) -> Html {
    let title = match faults.len() {
        1 => "The document cannot be applied".to_owned(),
        many => format!("The document cannot be applied: {many} mistakes"),
    };
    html!(
        <Alert inline={true} r#type={AlertType::Danger} {title}>
            <ul class="sl-uses">
                { for faults.iter().map(|fault| html!(
                    <li>
                        <strong>{ format!("Line {}", fault.line) }</strong>
                        if let Some(field) = &fault.field {
                            { " " }<code class="sl-code">{ field }</code>
                        }
                        { ": " }{ &fault.message }
                    </li>
                )) }
            </ul>
        </Alert>
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_counted_by_what_happens() {
        let change = |action| Change {
            action,
            what: "model".into(),
            name: "a/b".into(),
            fields: Vec::new(),
        };
        let changes = [
            change(Action::Create),
            change(Action::Create),
            change(Action::Delete),
        ];
        let expected = [
            (Action::Create, "2 to make".to_owned()),
            (Action::Delete, "1 to delete".to_owned()),
        ];
        assert_eq!(counts(&changes), expected);
    }
}

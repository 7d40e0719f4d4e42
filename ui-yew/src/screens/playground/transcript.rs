//! What was said, and what each answer took.

use events_schema::api::Page;
use events_schema::api::resources::ModelItem;
use events_schema::money::Price;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use super::conversation::{Conversation, Facts, Message, Role, Usage};
use super::markdown::{Block, Span, blocks};
use crate::api::Client;
use crate::format;
use crate::remote::{Content, use_remote};
use crate::widgets::paging::encode;

/// How many models are looked through for one: those whose names hold its name.
const NAMESAKES: u32 = 200;

/// Properties of [`Transcript`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// What was said.
    pub(super) conversation: Conversation,
}

/// The messages; the newest stays in sight.
#[component]
pub(super) fn Transcript(props: &Props) -> Html {
    let place = use_node_ref();
    {
        let place = place.clone();
        use_effect_with(props.conversation.clone(), move |_| {
            if let Some(place) = place.cast::<web_sys::Element>() {
                place.set_scroll_top(place.scroll_height());
            }
        });
    }
    let messages = &props.conversation.messages;
    if messages.is_empty() {
        return html!(
            <div class="sl-transcript" ref={place}>
                <EmptyState title="Ask something" icon={Icon::Play}>
                    { "Your message goes through the gateway like any request: it is authorized, routed, measured and recorded." }
                </EmptyState>
            </div>
        );
    }
    let last = messages.len() - 1;
    let draw = |(index, message): (usize, &Message)| {
        let answering = props.conversation.answering && index == last;
        match message.role {
            Role::User | Role::System => {
                html!(<div key={index} class="sl-said sl-said-user">{ &message.content }</div>)
            }
            Role::Assistant => {
                html!(<div key={index} class="sl-said sl-said-model" data-answering={answering.to_string()}>{ answer(message, answering) }</div>)
            }
        }
    };
    html!(<div class="sl-transcript" ref={place} aria-live="polite">{ for messages.iter().enumerate().map(draw) }</div>)
}

fn answer(message: &Message, answering: bool) -> Html {
    let waiting = answering && message.content.is_empty();
    html!(
        <>
            if waiting {
                <span class="sl-typing" aria-label="Waiting for the first token"><i></i><i></i><i></i></span>
            }
            if !message.content.is_empty() {
                <div class="sl-said-text">{ for blocks(&message.content).iter().enumerate().map(draw_block) }</div>
            }
            if let Some(broken) = &message.facts.broken {
                <Alert inline={true} plain={true} r#type={AlertType::Danger} title={broken.clone()} />
            }
            if !answering {
                { facts(&message.facts) }
            }
        </>
    )
}

fn draw_block((index, block): (usize, &Block)) -> Html {
    match block {
        Block::Text(spans) => html!(<p key={index}>{ for spans.iter().map(draw_span) }</p>),
        Block::Code(code) => html!(<pre key={index} class="sl-snippet"><code>{ code }</code></pre>),
    }
}

fn draw_span(span: &Span) -> Html {
    match span {
        Span::Plain(text) => html!(text),
        Span::Strong(text) => html!(<strong>{ text }</strong>),
        Span::Code(text) => html!(<code class="sl-code">{ text }</code>),
    }
}

fn facts(facts: &Facts) -> Html {
    let tokens = facts
        .usage
        .map(|usage| format!("{} + {}", usage.prompt_tokens, usage.completion_tokens));
    html!(
        <div class="sl-said-facts">
            if let Some(target) = &facts.target {
                <span data-fact="target">{ Icon::Microchip }{ " " }<b>{ target }</b></span>
            }
            { fact("tokens", tokens) }
            { fact("to first token", facts.first_token_us.map(format::latency)) }
            { fact("in all", facts.duration_us.map(format::latency)) }
            if let (Some(usage), Some(target)) = (facts.usage, &facts.target) {
                <Cost {usage} target={target.clone()} />
            }
            { fact("position", facts.position.clone().map(|position| format!("#{position}"))) }
        </div>
    )
}

fn fact(name: &'static str, value: Option<String>) -> Html {
    let value = value
        .map(|value| html!(<span data-fact={name}><b>{ value }</b>{ format!(" {name}") }</span>));
    value.unwrap_or_default()
}

/// The price of a model, if it has one.
struct PriceNow(Option<Price>);

impl Content for PriceNow {}

/// Properties of [`Cost`].
#[derive(Clone, PartialEq, Properties)]
struct CostProps {
    /// The tokens of the answer.
    usage: Usage,
    /// The full name of the model that answered.
    target: String,
}

/// What the answer cost, at the price that applies now to the model that answered.
#[component]
fn Cost(props: &CostProps) -> Html {
    let price = use_remote(
        props.target.clone(),
        |client: Client, target: String| async move {
            let path = format!("/models?limit={NAMESAKES}&search={}", encode(&target));
            let page = client.get::<Page<ModelItem>>(&path).await?;
            let found = page.items.into_iter().find(|it| it.full_name == target);
            Ok(PriceNow(found.and_then(|it| it.price)))
        },
    );
    let price = price.state.ready().and_then(|price| price.0);
    let cost = price.map(|price| {
        let usage = &props.usage;
        price.cost(usage.prompt_tokens, 0, usage.completion_tokens)
    });
    fact("cost", cost.map(|cost| format::usd(cost.nanos())))
}

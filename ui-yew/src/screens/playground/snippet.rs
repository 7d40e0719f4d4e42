//! The same request from one's own code.

use events_schema::api::status::Status;
use yew::prelude::*;

use crate::api::Client;
use crate::remote::use_remote;
use crate::widgets::button::{Button, Variant};
use crate::widgets::copy::CopyButton;
use crate::widgets::dialog::Dialog;

/// A language that the code is shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    TypeScript,
    Curl,
}

const LANGUAGES: [(Language, &str); 3] = [
    (Language::Python, "Python"),
    (Language::TypeScript, "TypeScript"),
    (Language::Curl, "curl"),
];

/// Properties of [`Snippet`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct Props {
    /// The model that is asked for.
    pub(super) model: AttrValue,
    /// Called when it is to go away.
    pub(super) onclose: Callback<()>,
}

/// Code for OpenAI's own SDKs, with the gateway's address.
#[component]
pub(super) fn Snippet(props: &Props) -> Html {
    let language = use_state_eq(|| Language::Python);
    let status = use_remote((), |client: Client, ()| async move {
        client.get::<Status>("/status").await
    });
    let gateway = status.state.ready().map_or_else(
        || "http://127.0.0.1:7800".to_owned(),
        |status| status.gateway_url.clone(),
    );
    let code = code(*language, gateway.trim_end_matches('/'), &props.model);
    let option = |(choice, label): (Language, &'static str)| {
        let setter = language.setter();
        let class = classes!(
            "pf-v6-c-toggle-group__button",
            (*language == choice).then_some("pf-m-selected")
        );
        html!(
            <div class="pf-v6-c-toggle-group__item">
                <button type="button" {class} onclick={Callback::from(move |_: MouseEvent| setter.set(choice))}>
                    <span class="pf-v6-c-toggle-group__text">{ label }</span>
                </button>
            </div>
        )
    };
    let footer = html!(<Button variant={Variant::Primary} label="Close" onclick={props.onclose.reform(|_| ())} />);
    html!(
        <Dialog title="Use it from your code" wide={true} onclose={props.onclose.clone()} {footer}
            description="OpenAI's own SDKs work unchanged: only the base URL and the key are different.">
            <div class="sl-snippet-head">
                <div class="pf-v6-c-toggle-group" role="group" aria-label="Language">{ for LANGUAGES.into_iter().map(option) }</div>
                <CopyButton text={code.clone()} label="the code" />
            </div>
            <pre class="sl-snippet"><code>{ code }</code></pre>
        </Dialog>
    )
}

fn code(language: Language, gateway: &str, model: &str) -> String {
    match language {
        Language::Python => format!(
            r#"from openai import OpenAI

client = OpenAI(base_url="{gateway}/v1", api_key="sk-sluice-…")

stream = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Hello"}}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")
"#
        ),
        Language::TypeScript => format!(
            r#"import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{gateway}/v1", apiKey: "sk-sluice-…" }});

const stream = await client.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "Hello" }}],
  stream: true,
}});
for await (const chunk of stream) {{
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}}
"#
        ),
        Language::Curl => format!(
            r#"curl {gateway}/v1/chat/completions \
  -H "Authorization: Bearer sk-sluice-…" \
  -H "Content-Type: application/json" \
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
"#
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_names_the_gateway_and_the_model() {
        for (language, _) in LANGUAGES {
            let code = code(language, "http://gateway:7800", "chat");
            assert!(
                code.contains("http://gateway:7800/v1") && code.contains("\"chat\""),
                "{code}"
            );
        }
    }
}

//! Hello.
use yew::prelude::*;

#[component]
fn App() -> Html {
    html! { <patternfly_yew::prelude::Content><h1>{"Hello"}</h1></patternfly_yew::prelude::Content> }
}

fn main() {
    yew::Renderer::<App>::new().render();
}

//! Small signs of a thing's state.

use patternfly_yew::prelude::*;
use yew::prelude::*;

/// Whether something works, or was switched off.
pub(crate) fn enabled(is_enabled: bool) -> Html {
    if is_enabled {
        html!(<Label label="Active" color={Color::Green} compact={true} icon={Icon::CheckCircle} />)
    } else {
        html!(<Label label="Disabled" color={Color::Orange} compact={true} icon={Icon::PauseCircle} />)
    }
}

/// A text in which backticks set off what is a machine's.
pub(crate) fn marked(text: &str) -> Html {
    let part = |(index, part): (usize, &str)| {
        if index % 2 == 1 {
            code(part)
        } else {
            html!(part.to_owned())
        }
    };
    html!({ for text.split('`').enumerate().map(part) })
}

/// A name or number of a machine's, in a fixed-width face.
pub(crate) fn code(text: &str) -> Html {
    html!(<code class="sl-code">{ text }</code>)
}

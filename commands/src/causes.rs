//! An error with what caused it, in one line.

use std::error::Error;

/// The error and its causes, outermost first. Some errors quote their cause already: it is not said twice.
#[must_use]
pub fn told(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = error.source();
    }
    line.replace('\n', " ")
}

//! One error type for the tool: a sentence for the person at the terminal, and what caused it.
//!
//! The tool's callers are people and scripts that look at the exit code; nobody matches on variants,
//! so there are none. What was being done, and to what, stands in the sentence.

use std::error::Error;
use std::fmt;

/// Why a subcommand stopped: a sentence that says what was being done, and its cause.
#[derive(Debug)]
pub(crate) struct Failure {
    sentence: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What every subcommand ends with.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure about which everything has been said already.
    pub(crate) fn told() -> Self {
        Self::new("")
    }

    /// Whether there is something left to say.
    pub(crate) fn is_told(&self) -> bool {
        self.sentence.is_empty()
    }

    /// A failure that needs no deeper cause.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            source: None,
        }
    }
}

/// Adds what was being done to any error.
pub(crate) trait Doing<T> {
    /// Wraps the error, with `sentence` as what was being done.
    fn doing(self, sentence: impl FnOnce() -> String) -> Outcome<T>;
}

// === impl Doing ===

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, sentence: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|cause| Failure {
            sentence: sentence(),
            source: Some(cause.into()),
        })
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    /// The whole chain on one line, outermost first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        let mut cause = self.source();
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            // A `Failure` prints its own causes already.
            cause = if inner.is::<Failure>() {
                None
            } else {
                inner.source()
            };
        }
        Ok(())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

//! Tokens that a provider did not state, counted from the texts themselves.
//!
//! A stream that breaks off, a caller that goes away, a provider that says nothing: then what was asked and what was
//! answered is counted with the tokenizers of OpenAI's models, and the record says that these numbers are estimates: of
//! other models' tokenizers, of files, and of what providers add around a text nothing is known.
//!
//! - [`kept`]: how much of texts may be held for that;
//! - [`heard`]: an answer's text, picked out of a stream while it passes;
//! - [`vocabulary`]: the tokenizers, and which model has which;
//! - [`question`], [`answer`]: which texts of a body count;
//! - [`lacking`]: what of a record can be counted, and counting it.
//!
//! While a request is under way nothing is counted: its body is held by reference, and of a stream's events the text is
//! copied. Counting happens on a thread of its own, by way of the recorder, once the request is over.

pub mod answer;
pub mod heard;
pub mod kept;
pub mod lacking;
pub mod question;
pub mod vocabulary;

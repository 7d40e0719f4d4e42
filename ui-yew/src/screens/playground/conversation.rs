//! A conversation with a model, as a state that grows piece by piece. Pure: times come with the pieces.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use yew::Reducible;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Message {
    /// By whom.
    pub(super) role: Role,
    /// What.
    pub(super) content: String,
    /// What is known of the answer's making; only of answers.
    #[serde(skip)]
    pub(super) facts: Facts,
}

/// What is known of an answer's making.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Facts {
    /// When the request was sent, in microseconds of any clock.
    sent_at: u64,
    /// From then to the first piece of text.
    pub(super) first_token_us: Option<u64>,
    /// From then to the end.
    pub(super) duration_us: Option<u64>,
    /// The model that answered.
    pub(super) target: Option<String>,
    /// The position of the configuration that decided.
    pub(super) position: Option<String>,
    /// The request's id.
    pub(super) request: Option<String>,
    /// The tokens, by the provider's count.
    pub(super) usage: Option<Usage>,
    /// Why it is not whole.
    pub(super) broken: Option<String>,
}

/// Tokens as OpenAI's wire format has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Usage {
    /// Input tokens.
    pub(super) prompt_tokens: u64,
    /// Output tokens.
    pub(super) completion_tokens: u64,
}

/// The conversation.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Conversation {
    /// All that was said.
    pub(super) messages: Vec<Message>,
    /// Whether the last message is still being said.
    pub(super) answering: bool,
}

/// What happens in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// The person says something, at this time.
    Asked(String, u64),
    /// The gateway began to answer: target, position, request id.
    Began(Option<String>, Option<String>, Option<String>),
    /// A piece of the answer came, at this time.
    Piece(Chunk, u64),
    /// The answer ended at this time, whole or broken off.
    Ended(Option<String>, u64),
    /// The conversation begins anew.
    Cleared,
}

/// A piece of an answer, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<WireError>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
struct Delta {
    content: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct WireError {
    message: String,
}

// === impl Conversation ===

impl Conversation {
    /// The conversation after a step.
    pub(super) fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        match step {
            Step::Asked(content, at) => next.ask(content, at),
            Step::Began(target, position, request) => {
                if let Some(facts) = next.facts() {
                    (facts.target, facts.position, facts.request) = (target, position, request);
                }
            }
            Step::Piece(chunk, at) => next.take(chunk, at),
            Step::Ended(broken, at) => next.end(broken, at),
            Step::Cleared => next = Self::default(),
        }
        next
    }

    fn ask(&mut self, content: String, at: u64) {
        let asked = Message {
            role: Role::User,
            content,
            facts: Facts::default(),
        };
        let facts = Facts {
            sent_at: at,
            ..Facts::default()
        };
        let answer = Message {
            role: Role::Assistant,
            content: String::new(),
            facts,
        };
        self.messages.extend([asked, answer]);
        self.answering = true;
    }

    fn take(&mut self, chunk: Chunk, at: u64) {
        let Some(answer) = self.messages.last_mut().filter(|_| self.answering) else {
            return;
        };
        let text: String = chunk
            .choices
            .into_iter()
            .filter_map(|choice| choice.delta.content)
            .collect();
        if !text.is_empty() {
            let sent_at = answer.facts.sent_at;
            answer
                .facts
                .first_token_us
                .get_or_insert(at.saturating_sub(sent_at));
        }
        answer.content.push_str(&text);
        answer.facts.usage = chunk.usage.or(answer.facts.usage);
        if let Some(error) = chunk.error {
            answer.facts.broken = Some(error.message);
        }
    }

    fn end(&mut self, broken: Option<String>, at: u64) {
        if let Some(facts) = self.facts() {
            facts.duration_us = Some(at.saturating_sub(facts.sent_at));
            facts.broken = broken.or(facts.broken.take());
        }
        self.answering = false;
    }

    fn facts(&mut self) -> Option<&mut Facts> {
        self.messages.last_mut().map(|message| &mut message.facts)
    }

    /// What is sent: the instructions, and all that was said; answers that never began are left out.
    pub(super) fn to_send(&self, instructions: &str, question: &str) -> Vec<Message> {
        let say = |role, content: &str| Message {
            role,
            content: content.to_owned(),
            facts: Facts::default(),
        };
        let system =
            (!instructions.trim().is_empty()).then(|| say(Role::System, instructions.trim()));
        let said = self
            .messages
            .iter()
            .filter(|message| !message.content.is_empty())
            .cloned();
        system
            .into_iter()
            .chain(said)
            .chain([say(Role::User, question)])
            .collect()
    }
}

impl Reducible for Conversation {
    type Action = Step;

    fn reduce(self: Rc<Self>, step: Step) -> Rc<Self> {
        Rc::new(self.after(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(json: &str, at: u64) -> Step {
        Step::Piece(serde_json::from_str(json).expect("a chunk"), at)
    }

    fn run(steps: Vec<Step>) -> Conversation {
        steps
            .into_iter()
            .fold(Conversation::default(), |conversation, step| {
                conversation.after(step)
            })
    }

    #[test]
    fn an_answer_grows_by_its_pieces_and_ends_with_its_figures() {
        let conversation = run(vec![
            Step::Asked("hello".to_owned(), 1_000),
            Step::Began(Some("mock/fast".to_owned()), Some("7".to_owned()), None),
            piece(r#"{"choices":[{"delta":{"role":"assistant"}}]}"#, 1_500),
            piece(r#"{"choices":[{"delta":{"content":"Hel"}}]}"#, 3_000),
            piece(r#"{"choices":[{"delta":{"content":"lo"}}]}"#, 4_000),
            piece(
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
                4_500,
            ),
            Step::Ended(None, 5_000),
        ]);
        let answer = &conversation.messages[1];
        assert_eq!(answer.content, "Hello");
        assert_eq!(
            (answer.facts.first_token_us, answer.facts.duration_us),
            (Some(2_000), Some(4_000))
        );
        assert_eq!(
            answer.facts.usage,
            Some(Usage {
                prompt_tokens: 3,
                completion_tokens: 2
            })
        );
        assert!(!conversation.answering && answer.facts.broken.is_none());
    }

    #[test]
    fn an_error_in_the_middle_of_a_stream_stays_visible() {
        let conversation = run(vec![
            Step::Asked("hello".to_owned(), 0),
            piece(r#"{"choices":[{"delta":{"content":"Hel"}}]}"#, 1),
            piece(r#"{"error":{"message":"the provider broke off"}}"#, 2),
            Step::Ended(None, 3),
        ]);
        let answer = &conversation.messages[1];
        assert_eq!(
            (answer.content.as_str(), answer.facts.broken.as_deref()),
            ("Hel", Some("the provider broke off"))
        );
    }

    #[test]
    fn pieces_after_the_end_are_dropped() {
        let ended = run(vec![
            Step::Asked("a".to_owned(), 0),
            Step::Ended(Some("cancelled".to_owned()), 1),
        ]);
        assert_eq!(
            ended.after(piece(r#"{"choices":[{"delta":{"content":"x"}}]}"#, 2)),
            ended
        );
    }

    #[test]
    fn instructions_go_first_and_empty_answers_are_left_out() {
        let conversation = run(vec![
            Step::Asked("a".to_owned(), 0),
            Step::Ended(Some("refused".to_owned()), 1),
        ]);
        let sent = conversation.to_send(" be brief ", "b");
        let roles: Vec<Role> = sent.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::User]);
        let json = serde_json::to_string(&sent[0]).expect("JSON");
        assert_eq!(json, r#"{"role":"system","content":"be brief"}"#);
    }
}

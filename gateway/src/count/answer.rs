//! The tokens of a whole answer: of what the model said in it, in either API.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::vocabulary::Vocabulary;

/// OpenAI's `choices`, or Anthropic's `content`.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default, borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(default, borrow)]
    content: Vec<Block<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    text: Option<String>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    content: Option<String>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    text: Option<String>,
    thinking: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// How many tokens a whole answer has; `None`: no text is found in it.
#[must_use]
pub fn tokens(answer: &[u8], vocabulary: Vocabulary) -> Option<u64> {
    let Answer { choices, content } = serde_json::from_slice(answer).ok()?;
    let mut sum = Sum {
        vocabulary,
        tokens: None,
    };
    for Choice { text, message } in choices {
        sum.text(text.as_deref());
        let Some(message) = message else { continue };
        let Message {
            content,
            refusal,
            reasoning_content,
            tool_calls,
        } = message;
        sum.text(content.as_deref());
        sum.text(refusal.as_deref());
        sum.text(reasoning_content.as_deref());
        for ToolCall { function } in tool_calls.unwrap_or_default() {
            sum.text(function.map(RawValue::get));
        }
    }
    for block in content {
        let Block {
            text,
            thinking,
            input,
        } = block;
        sum.text(text.as_deref());
        sum.text(thinking.as_deref());
        sum.text(input.map(RawValue::get));
    }
    sum.tokens
}

struct Sum {
    vocabulary: Vocabulary,
    tokens: Option<u64>,
}

impl Sum {
    fn text(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            let tokens = self.vocabulary.count(text);
            self.tokens = Some(self.tokens.unwrap_or(0).saturating_add(tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_model_said_is_counted_and_nothing_around_it() {
        let check = |answer: &str, expected| {
            let tokens = tokens(answer.as_bytes(), Vocabulary::O200k);
            assert_eq!(tokens, expected, "{answer}");
        };
        check(
            r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"Hello, world!"},"finish_reason":"stop"}]}"#,
            Some(4),
        );
        check(
            r#"{"choices":[{"message":{"content":null,"reasoning_content":"Hello, world!"}},{"text":"Hello\u002c world!"}]}"#,
            Some(8),
        );
        check(
            r#"{"type":"message","content":[{"type":"thinking","thinking":"Hello, world!","signature":"AAAA"},{"type":"text","text":"Hello, world!"}]}"#,
            Some(8),
        );
        let call = r#"{"name":"f","arguments":"{}"}"#;
        check(
            &format!(
                r#"{{"choices":[{{"message":{{"tool_calls":[{{"id":"c","function":{call}}}]}}}}]}}"#
            ),
            Some(Vocabulary::O200k.count(call)),
        );
        check(
            r#"{"content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]}"#,
            Some(Vocabulary::O200k.count(r#"{"a":1}"#)),
        );
        check(r#"{"choices":[{"message":{"content":""}}]}"#, Some(0));
        check(r#"{"object":"list","data":[]}"#, None);
        check("no JSON", None);
    }
}

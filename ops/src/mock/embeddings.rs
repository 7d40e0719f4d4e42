//! `POST /v1/embeddings`: unit vectors that depend on the text alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::{Ask, Charged, Plan, Refusal};
use super::tokens;
use crate::dice::Dice;

/// Numbers a vector when the request does not say (as OpenAI's small model has).
const DEFAULT_DIMENSIONS: usize = 1_536;

/// The longest vector.
const MAX_DIMENSIONS: usize = 8_192;

#[derive(Deserialize)]
struct Request {
    model: String,
    input: Input,
    encoding_format: Option<Encoding>,
    dimensions: Option<usize>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Float,
    Base64,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u64>),
    TokenLists(Vec<Vec<u64>>),
}

/// Plans the answer to an embeddings request.
pub(super) fn plan(ask: &Ask) -> Result<Plan, Refusal> {
    let request: Request = serde_json::from_slice(&ask.body).map_err(|error| {
        Refusal::bad_request(format!("The body is not an embeddings request: {error}"))
    })?;
    let script = ask.script(&request.model)?;
    if let Some(error) = Plan::scripted_error(&script, ask.wire()) {
        return Ok(error);
    }
    let dimensions = request.dimensions.unwrap_or(DEFAULT_DIMENSIONS);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(Refusal {
            param: Some("dimensions"),
            ..Refusal::bad_request(format!(
                "dimensions must lie between 1 and {MAX_DIMENSIONS}"
            ))
        });
    }
    let seed = script.seed.unwrap_or_default();
    let encoding = request.encoding_format.unwrap_or(Encoding::Float);
    let mut data = Vec::new();
    let mut prompt_tokens = 0;
    for (index, (tokens, text)) in request.input.parts().into_iter().enumerate() {
        prompt_tokens += tokens;
        let vector = vector(&text, seed, dimensions);
        let embedding = encode(&vector, encoding);
        data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
    }
    let document = json!({
        "object": "list",
        "data": data,
        "model": request.model,
        "usage": { "prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens },
    });
    let charged = Charged {
        input: prompt_tokens,
        output: 0,
    };
    Ok(Plan::scripted_whole(&script, charged, &document))
}

// === impl Input ===

impl Input {
    /// Each input's number of tokens, and a text that stands for it.
    pub(super) fn parts(&self) -> Vec<(u64, String)> {
        let listed = |ids: &Vec<u64>| (ids.len() as u64, format!("{ids:?}"));
        match self {
            Self::Text(text) => vec![(tokens::count(text), text.clone())],
            Self::Texts(texts) => texts
                .iter()
                .map(|text| (tokens::count(text), text.clone()))
                .collect(),
            Self::Tokens(ids) => vec![listed(ids)],
            Self::TokenLists(lists) => lists.iter().map(listed).collect(),
        }
    }
}

/// A vector of length 1 that the text and the seed determine.
fn vector(text: &str, seed: u64, dimensions: usize) -> Vec<f32> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(text.as_bytes());
    let mut dice = Dice::new(first_word(&hasher.finalize()));
    let raw: Vec<f32> = (0..dimensions)
        .map(|_| f32::from((dice.roll() >> 48) as u16) / f32::from(u16::MAX) - 0.5)
        .collect();
    let norm = raw
        .iter()
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt()
        .max(f32::EPSILON);
    raw.into_iter().map(|value| value / norm).collect()
}

fn encode(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Value::String(STANDARD.encode(bytes))
        }
    }
}

/// The first eight bytes of a hash, as a seed.
pub(super) fn first_word(hash: &blake3::Hash) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(word)
}

//! A record as JSON: byte for byte what `serde_json` writes, and several times as fast, since the names of fields need no
//! escaping and go out together with what stands around them. What is rare is left to `serde_json`.

mod limits;

use std::collections::BTreeMap;

use events_schema::{
    envelope::Epoch,
    events::{ModelRef, Owner},
    id::Id,
    usage::{Attempt, Tokens, UsageRecord},
};
use serde::Serialize;
use uuid::Uuid;

use crate::digits::Decimal;

/// Writes a record.
pub(super) fn write(record: &UsageRecord, out: &mut Vec<u8>) {
    let UsageRecord {
        request,
        received_at,
        epoch,
        position,
        endpoint,
        streamed,
        key,
        owner,
        requested_model,
        resolved,
        answered_by,
        target,
        attempts,
        outcome,
        status,
        error_code,
        rules,
        seed,
        routing,
        tokens,
        cost,
        duration_us,
        first_byte_us,
        metadata,
        budgets,
        limits,
    } = record;
    let mut json = Json(out);
    json.text(r#"{"request":"#).uuid(*request);
    json.text(r#","received_at":"#).value(received_at);
    json.text(r#","epoch":"#).optional(*epoch, Json::epoch);
    json.text(r#","position":"#).number(*position);
    json.text(r#","endpoint":""#).text(endpoint.as_str());
    json.text(r#"","streamed":"#).flag(*streamed);
    json.text(r#","key":"#).optional(*key, Json::id);
    json.text(r#","owner":"#).optional(*owner, Json::owner);
    json.text(r#","requested_model":"#).string(requested_model);
    json.text(r#","resolved":"#)
        .optional(*resolved, Json::model);
    json.text(r#","answered_by":"#)
        .optional(*answered_by, Json::id);
    json.text(r#","target":"#)
        .optional(target.as_deref(), Json::string);
    json.text(r#","attempts":"#).list(attempts, Json::attempt);
    json.text(r#","outcome":""#).text(outcome.as_str());
    json.text(r#"","status":"#).number(u64::from(*status));
    json.text(r#","error_code":"#)
        .optional(error_code.as_deref(), Json::string);
    json.text(r#","rules":"#)
        .list(rules, |json, rule| json.string(rule));
    json.text(r#","seed":"#).number(*seed);
    json.field(r#","routing":"#, routing.as_ref());
    json.text(r#","tokens":"#).tokens(tokens);
    json.text(r#","cost":"#).value(cost);
    json.text(r#","duration_us":"#).number(*duration_us);
    json.text(r#","first_byte_us":"#)
        .optional(*first_byte_us, Json::number);
    json.text(r#","metadata":"#).metadata(metadata);
    json.field(r#","budgets":"#, budgets.as_ref());
    json.limits(limits.as_deref());
    json.text("}");
}

/// Where it is written.
struct Json<'o>(&'o mut Vec<u8>);

impl Json<'_> {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn flag(&mut self, flag: bool) {
        self.text(if flag { "true" } else { "false" });
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(Decimal::of(number).as_bytes());
    }

    fn uuid(&mut self, uuid: Uuid) {
        let mut text = [b'"'; uuid::fmt::Hyphenated::LENGTH + 2];
        let end = text.len() - 1;
        uuid.as_hyphenated().encode_lower(&mut text[1..end]);
        self.0.extend_from_slice(&text);
    }

    fn id<T>(&mut self, id: Id<T>) {
        let mut text = [b'"'; uuid::fmt::Simple::LENGTH + 2];
        let end = text.len() - 1;
        id.uuid().as_simple().encode_lower(&mut text[1..end]);
        self.0.extend_from_slice(&text);
    }

    fn epoch(&mut self, epoch: Epoch) {
        let Epoch { seconds, id } = epoch;
        let mut digits = [0; uuid::fmt::Simple::LENGTH];
        self.text("\"").number(seconds);
        let id = id.as_simple().encode_lower(&mut digits);
        self.text("-").text(id).text("\"");
    }

    fn owner(&mut self, owner: Owner) {
        match owner {
            Owner::User(id) => self.text(r#"{"user":"#).id(id),
            Owner::VirtualAccount(id) => self.text(r#"{"virtual_account":"#).id(id),
        }
        self.text("}");
    }

    fn model(&mut self, model: ModelRef) {
        match model {
            ModelRef::Model(id) => self.text(r#"{"model":"#).id(id),
            ModelRef::VirtualModel(id) => self.text(r#"{"virtual_model":"#).id(id),
            ModelRef::ProviderAccount(id) => self.text(r#"{"provider_account":"#).id(id),
        }
        self.text("}");
    }

    fn string(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && !matches!(byte, b'"' | b'\\');
        if text.bytes().all(is_plain) {
            self.text("\"").text(text).text("\"");
        } else {
            self.value(text);
        }
    }

    /// What need not be quick.
    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut *self.0, value).expect("a record is JSON");
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => {
                self.text("null");
            }
        }
    }

    /// A field that is left out where there is nothing.
    fn field(&mut self, name: &str, value: Option<&impl Serialize>) {
        if let Some(value) = value {
            self.text(name).value(value);
        }
    }

    fn list<'l, T>(&mut self, values: &'l [T], write: impl Fn(&mut Self, &'l T)) {
        let mut between = "[";
        for value in values {
            self.text(between);
            write(self, value);
            between = ",";
        }
        self.text(if values.is_empty() { "[]" } else { "]" });
    }

    fn metadata(&mut self, metadata: &BTreeMap<String, String>) {
        if metadata.is_empty() {
            self.text("{}");
        } else {
            self.value(metadata);
        }
    }

    fn tokens(&mut self, tokens: &Tokens) {
        let Tokens {
            input,
            cached_input,
            output,
            reasoning,
            estimated,
            cache_write_input,
            audio_input,
            audio_output,
        } = tokens;
        self.text(r#"{"input":"#).number(*input);
        self.text(r#","cached_input":"#).number(*cached_input);
        self.text(r#","output":"#).number(*output);
        self.text(r#","reasoning":"#).number(*reasoning);
        self.text(r#","estimated":"#).flag(*estimated);
        self.field(r#","cache_write_input":"#, cache_write_input.as_ref());
        self.field(r#","audio_input":"#, audio_input.as_ref());
        self.field(r#","audio_output":"#, audio_output.as_ref());
        self.text("}");
    }

    fn attempt(&mut self, attempt: &Attempt) {
        let Attempt {
            model,
            target,
            status,
            error,
            began_us,
            first_byte_us,
            duration_us,
            sent,
            tokens,
            first_token_us,
            per_output_token_us,
        } = attempt;
        self.text(r#"{"model":"#).id(*model);
        self.text(r#","target":"#).string(target);
        self.text(r#","status":"#)
            .optional(status.map(u64::from), Json::number);
        self.text(r#","error":"#)
            .optional(error.as_deref(), Json::string);
        self.text(r#","began_us":"#).number(*began_us);
        self.text(r#","first_byte_us":"#)
            .optional(*first_byte_us, Json::number);
        self.text(r#","duration_us":"#).number(*duration_us);
        self.field(r#","sent":"#, sent.as_ref());
        if let Some(tokens) = tokens {
            self.text(r#","tokens":"#).tokens(tokens);
        }
        self.field(r#","first_token_us":"#, first_token_us.as_ref());
        self.field(r#","per_output_token_us":"#, per_output_token_us.as_ref());
        self.text("}");
    }
}

#[cfg(test)]
mod tests {
    use events_schema::{
        id::{KeyId, ModelId, UserId, VirtualAccountId, VirtualModelId},
        money::NanoUsd,
        usage::{BudgetCharge, Outcome, RetryWish, RoutingGrounds},
    };

    use super::{super::batch::tests::record, *};

    pub(super) fn check(record: &UsageRecord) {
        let mut written = Vec::new();
        write(record, &mut written);
        let expected = serde_json::to_string(record).expect("a record is JSON");
        let written = String::from_utf8(written).expect("JSON is text");
        assert_eq!(written, expected);
    }

    #[test]
    fn a_record_is_written_as_serde_writes_it() {
        check(&record(7));
        let some = Tokens {
            input: 10,
            cached_input: 1,
            output: u64::MAX,
            reasoning: 3,
            estimated: true,
            cache_write_input: Some(0),
            audio_input: Some(5),
            audio_output: Some(6),
        };
        let tried = Attempt {
            model: ModelId::from_bytes([0xab; 16]),
            target: "one/first".into(),
            status: None,
            error: Some("timeout".into()),
            began_us: 1,
            first_byte_us: None,
            duration_us: 2,
            sent: None,
            tokens: None,
            first_token_us: None,
            per_output_token_us: None,
        };
        let answered = Attempt {
            status: Some(200),
            error: None,
            first_byte_us: Some(3),
            sent: Some(true),
            tokens: Some(some),
            first_token_us: Some(4),
            per_output_token_us: Some(5),
            ..tried.clone()
        };
        let key = KeyId::from_bytes([1; 16]);
        check(&UsageRecord {
            epoch: Some(Epoch {
                seconds: 9,
                id: Uuid::from_u128(3),
            }),
            streamed: true,
            key: Some(key),
            owner: Some(Owner::User(UserId::from_bytes([2; 16]))),
            requested_model: "odd \"model\" \\ \n ü".into(),
            resolved: Some(ModelRef::Model(ModelId::from_bytes([3; 16]))),
            answered_by: Some(ModelId::from_bytes([4; 16])),
            target: Some("ü/x".into()),
            attempts: vec![tried, answered],
            outcome: Outcome::StreamCut,
            status: 499,
            error_code: Some("cut".into()),
            rules: vec!["grant:1".into(), "audit:\u{1}".into()],
            seed: u64::MAX,
            routing: Some(RoutingGrounds {
                retry: Some(RetryWish {
                    attempts: 1,
                    on_status_codes: vec![429],
                }),
                ..RoutingGrounds::default()
            }),
            tokens: some,
            cost: Some(NanoUsd::new(12)),
            first_byte_us: Some(0),
            metadata: BTreeMap::from([("a\"".into(), "b".into())]),
            budgets: Some(vec![BudgetCharge {
                policy: Id::from_bytes([6; 16]),
                segment: Uuid::nil(),
            }]),
            limits: Some(vec![]),
            ..record(8)
        });
        for resolved in [
            ModelRef::VirtualModel(VirtualModelId::from_bytes([7; 16])),
            ModelRef::ProviderAccount(Id::from_bytes([8; 16])),
        ] {
            check(&UsageRecord {
                owner: Some(Owner::VirtualAccount(VirtualAccountId::from_bytes([9; 16]))),
                resolved: Some(resolved),
                ..record(9)
            });
        }
    }
}

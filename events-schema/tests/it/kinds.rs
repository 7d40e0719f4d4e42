//! Every kind of event that there is, as serde knows them: no list to forget one in.

use std::fmt;

use events_schema::events::{
    Aggregate, BudgetAlertEvent, BudgetPolicyEvent, GrantEvent, KeyEvent, LogEvent, ModelEvent,
    OperatorEvent, ProviderAccountEvent, RateLimitPolicyEvent, SettingsEvent, TeamEvent, UserEvent,
    VirtualAccountEvent, VirtualModelEvent, codec,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
    forward_to_deserialize_any,
};

/// The kinds of an aggregate's events.
pub(crate) fn kinds_of(aggregate: Aggregate) -> &'static [&'static str] {
    match aggregate {
        Aggregate::Log => variants::<LogEvent>(),
        Aggregate::ProviderAccount => variants::<ProviderAccountEvent>(),
        Aggregate::Model => variants::<ModelEvent>(),
        Aggregate::VirtualModel => variants::<VirtualModelEvent>(),
        Aggregate::User => variants::<UserEvent>(),
        Aggregate::VirtualAccount => variants::<VirtualAccountEvent>(),
        Aggregate::Key => variants::<KeyEvent>(),
        Aggregate::Grant => variants::<GrantEvent>(),
        Aggregate::Operator => variants::<OperatorEvent>(),
        Aggregate::Team => variants::<TeamEvent>(),
        Aggregate::RateLimitPolicy => variants::<RateLimitPolicyEvent>(),
        Aggregate::BudgetPolicy => variants::<BudgetPolicyEvent>(),
        Aggregate::BudgetAlert => variants::<BudgetAlertEvent>(),
        Aggregate::Settings => variants::<SettingsEvent>(),
    }
}

/// All kinds of events.
pub(crate) fn all_kinds() -> impl Iterator<Item = &'static str> {
    Aggregate::ALL
        .into_iter()
        .flat_map(|aggregate| kinds_of(aggregate).iter().copied())
}

/// The newest schema version of a kind, as the upcasters tell.
pub(crate) fn newest_version(kind: &str) -> u16 {
    codec::UPCASTERS
        .iter()
        .filter(|step| step.kind == kind)
        .map(|step| step.from + 1)
        .max()
        .unwrap_or(1)
}

/// The names of an enum's variants, as its `Deserialize` tells them.
fn variants<'de, E: Deserialize<'de>>() -> &'static [&'static str] {
    match E::deserialize(Ask) {
        Err(Answer(variants)) => variants,
        Ok(_) => panic!("an enum asks for its variants"),
    }
}

/// Gives nothing, and remembers which variants were asked for.
struct Ask;

/// The variants, by way of an error.
#[derive(Debug)]
struct Answer(&'static [&'static str]);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.0.join(", "))
    }
}

impl std::error::Error for Answer {}

impl de::Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Ask {
    type Error = Answer;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer(&[]))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Answer> {
        Err(Answer(variants))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

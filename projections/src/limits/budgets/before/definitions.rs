//! Since when budget policies count what they count, out of the history.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use async_nats::jetstream;
use events_schema::{
    envelope::Envelope,
    events::Stream,
    id::BudgetPolicyId,
    state::{BudgetPolicy, Organisation},
    subjects,
    time::Timestamp,
};
use gateway_policy::{Measure, RuleLimit, limits::period::Period};
use tokio::sync::watch;

use crate::{
    fold::{Fold, FoldError},
    reader::{ReadError, Reader, look},
};

/// An event of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    /// Its position: requests that were decided on by an older configuration did not count for what it says.
    pub(super) position: u64,
    /// When it was recorded.
    pub(super) at: Timestamp,
}

/// What a policy counts, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    /// Since when it matches the requests that it matches now, with the counters that it has now.
    pub(super) matches: Since,
    /// Since when it has a limit on what in which time, for all or for some; also of those that it has no more.
    pub(super) limits: BTreeMap<(Measure, Period), Since>,
}

/// All budget policies, as of one position of the history.
#[derive(Debug, Clone, Default)]
pub(super) struct Definitions {
    /// The configuration.
    pub(super) state: Organisation,
    /// Those policies that are there.
    pub(super) policies: Arc<BTreeMap<BudgetPolicyId, Definition>>,
}

/// Why the history cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("EVENTS cannot be read")]
    Read(#[from] ReadError),
    #[error("the history cannot be followed")]
    Fold(#[from] FoldError),
}

/// Reads the history, tells what policies count once it has been read to its end, and again after each event.
///
/// # Errors
/// When `EVENTS` cannot be read, or holds what cannot be followed. What was told last stays.
pub(super) async fn follow(
    context: &jetstream::Context,
    tell: &watch::Sender<Option<Arc<Definitions>>>,
) -> Result<Infallible, Error> {
    let end = look(context, subjects::EVENTS).await?.last;
    let mut events = Reader::open(context, subjects::EVENTS, None).await?;
    let mut fold = Fold::new();
    let mut policies = Arc::<BTreeMap<_, _>>::default();
    loop {
        if fold.position() >= end {
            tell.send_replace(Some(Arc::new(Definitions {
                state: fold.organisation().clone(),
                policies: Arc::clone(&policies),
            })));
        }
        let delivered = events.next().await?;
        let envelope = fold.read(delivered.sequence, &delivered.message.payload)?;
        let Stream::BudgetPolicy(id) = envelope.stream else {
            fold.apply(&envelope)?;
            continue;
        };
        let policy = |fold: &Fold| fold.organisation().budget_policies().get(&id).cloned();
        let before = policy(&fold);
        fold.apply(&envelope)?;
        let policies = Arc::make_mut(&mut policies);
        note(
            policies,
            id,
            &envelope,
            before.as_ref(),
            policy(&fold).as_ref(),
        );
    }
}

/// Something has happened to a policy.
fn note(
    policies: &mut BTreeMap<BudgetPolicyId, Definition>,
    id: BudgetPolicyId,
    event: &Envelope,
    before: Option<&BudgetPolicy>,
    now: Option<&BudgetPolicy>,
) {
    let Some(now) = now else {
        policies.remove(&id);
        return;
    };
    let since = Since {
        position: event.position,
        at: event.recorded_at,
    };
    let definition = policies.entry(id).or_insert_with(|| Definition {
        matches: since,
        limits: BTreeMap::new(),
    });
    let matches_as_before = before.is_some_and(|before| {
        before.rule.when == now.rule.when
            && before.rule.applies_per == now.rule.applies_per
            && (now.disabled || !before.disabled)
    });
    if !matches_as_before {
        definition.matches = since;
    }
    for limit in now.rule.all_limits() {
        let RuleLimit {
            measure, period, ..
        } = RuleLimit::from(*limit);
        definition.limits.entry((measure, period)).or_insert(since);
    }
}

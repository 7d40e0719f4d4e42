//! Which targets are tried, in which order: the first by weight, then whoever may be fallen back to, as listed.

use events_schema::{
    money::{NanoUsd, Price},
    snapshot::entries::{ArchivedModelEntry, ArchivedTargetEntry, ArchivedVirtualModelEntry},
    time::Timestamp,
    usage::Endpoint,
};

use crate::{
    Configuration, Denial, Resolved, Target,
    endpoint::{can_take, no_target},
};

/// The order of the attempts. Holds no list: it is worked out again while it is gone through.
#[derive(Debug, Clone, Copy)]
pub enum Plan<'c> {
    /// The one model that was asked for.
    Direct(Target<'c>),
    /// Targets of a virtual model.
    Weighted {
        /// The virtual model.
        of: &'c ArchivedVirtualModelEntry,
        /// The index of the target that is tried first.
        first: usize,
        /// What is asked for.
        endpoint: Endpoint,
    },
}

/// One try.
#[derive(Debug, Clone, Copy)]
pub struct Step<'c> {
    /// What is tried.
    pub target: Target<'c>,
    /// The target of a virtual model that it is; `None`: it was asked for directly, and nothing else is tried after it.
    pub routed: Option<&'c ArchivedTargetEntry>,
}

impl Step<'_> {
    /// Whether another target is to be tried when this one answers with `status`.
    #[must_use]
    pub fn falls_back_on(&self, status: u16) -> bool {
        self.routed.is_some_and(|routed| {
            routed
                .fallback_status_codes
                .iter()
                .any(|code| code.to_native() == status)
        })
    }
}

/// Plans the attempts for what was asked; the same `seed` gives the same plan.
///
/// Among the targets of a virtual model those count that are there, enabled (model and account), and can be asked for
/// this. Where all weights of these are zero, the first of them is tried first.
///
/// # Errors
/// [`Denial::VirtualModelDisabled`], [`Denial::NoTarget`], [`Denial::ModelDisabled`], [`Denial::AccountDisabled`],
/// [`Denial::WrongKind`], [`Denial::NotAnthropic`].
pub fn plan<'c>(
    config: &'c impl Configuration,
    resolved: Resolved<'c>,
    endpoint: Endpoint,
    seed: u64,
) -> Result<Plan<'c>, Denial> {
    match resolved {
        Resolved::Direct(target) => {
            check_target(config, target, endpoint).map(|()| Plan::Direct(target))
        }
        Resolved::Virtual(of) if of.disabled => Err(Denial::VirtualModelDisabled),
        Resolved::Virtual(of) => {
            let first = choose(config, of, endpoint, seed)
                .ok_or_else(|| no_target(config, of, endpoint))?;
            Ok(Plan::Weighted {
                of,
                first,
                endpoint,
            })
        }
    }
}

impl<'c> Plan<'c> {
    /// The attempts in order; at least one, each target once.
    pub fn steps(self, config: &'c impl Configuration) -> impl Iterator<Item = Step<'c>> {
        let (direct, weighted) = match self {
            Self::Direct(target) => (
                Some(Step {
                    target,
                    routed: None,
                }),
                None,
            ),
            Self::Weighted {
                of,
                first,
                endpoint,
            } => (None, Some((of, first, endpoint))),
        };
        let routed = weighted.into_iter().flat_map(move |(of, first, endpoint)| {
            let others = of
                .targets
                .iter()
                .enumerate()
                .filter(move |(at, it)| *at != first && it.fallback_candidate);
            let ordered = std::iter::once(&of.targets[first]).chain(others.map(|(_, it)| it));
            ordered.filter_map(move |it| {
                Some(Step {
                    target: usable(config, it, endpoint)?,
                    routed: Some(it),
                })
            })
        });
        direct.into_iter().chain(routed)
    }
}

fn check_target(
    config: &impl Configuration,
    target: Target<'_>,
    endpoint: Endpoint,
) -> Result<(), Denial> {
    if target.account.disabled {
        return Err(Denial::AccountDisabled);
    }
    if target.model.disabled {
        return Err(Denial::ModelDisabled);
    }
    can_take(config, target, endpoint)
}

fn usable<'c>(
    config: &'c impl Configuration,
    it: &ArchivedTargetEntry,
    endpoint: Endpoint,
) -> Option<Target<'c>> {
    let model = config.model(&it.model)?;
    let target = Target {
        account: config.account(&model.account)?,
        model,
    };
    check_target(config, target, endpoint).ok().map(|()| target)
}

/// The index of the target that the seed falls on; the first usable one where no usable target has weight.
fn choose(
    config: &impl Configuration,
    of: &ArchivedVirtualModelEntry,
    endpoint: Endpoint,
    seed: u64,
) -> Option<usize> {
    let candidates = || {
        of.targets
            .iter()
            .enumerate()
            .filter(|(_, it)| usable(config, it, endpoint).is_some())
    };
    let total: u64 = candidates()
        .map(|(_, it)| u64::from(it.weight.to_native()))
        .sum();
    let mut left = scale(seed, total);
    for (at, it) in candidates() {
        let weight = u64::from(it.weight.to_native());
        if left < weight {
            return Some(at);
        }
        left -= weight;
    }
    candidates().next().map(|(at, _)| at)
}

/// Maps all of u64 evenly onto `0..below` (Lemire 2019, without the rejection: the bias is below 2^-31 for sums of weights).
fn scale(seed: u64, below: u64) -> u64 {
    u64::try_from((u128::from(seed) * u128::from(below)) >> 64).unwrap_or(0)
}

/// The price of a model at a time; `None`: it has none yet.
#[must_use]
pub fn price_at(model: &ArchivedModelEntry, now: Timestamp) -> Option<Price> {
    let effective = model
        .prices
        .iter()
        .filter(|it| it.effective_at_us.to_native() <= now.micros());
    effective
        .max_by_key(|it| it.effective_at_us.to_native())
        .map(|it| Price {
            input: NanoUsd::new(it.input.to_native()),
            output: NanoUsd::new(it.output.to_native()),
            cached_input: Some(NanoUsd::new(it.cached_input.to_native())),
        })
}

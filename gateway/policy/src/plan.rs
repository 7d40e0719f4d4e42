//! Which targets are tried, in which order, and what follows when one fails: a pure function of the configuration, of
//! what the request says, of the targets' health, and of a seed. All of these are in the request's record, so that the
//! same attempts can be worked out again.

use std::collections::BTreeMap;

use events_schema::{
    events::{DEFAULT_RETRY_DELAY_MS, MOST_TARGETS},
    snapshot::{entries::ArchivedVirtualModelEntry, routing::StrategyEntry},
    usage::{Endpoint, Health, RetryWish},
};

use crate::{
    Configuration, Denial, EntryId, Resolved, Target,
    endpoint::{can_take, no_target},
    health::{FEWEST_CALLS, Rank},
    routed::{Routed, RoutedTarget},
};

/// How much slower than the fastest target one may be to count as equal, in tenths.
const EQUAL_WITHIN_TENTHS: u64 = 12;

/// What a request says that the plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// What is asked for.
    pub endpoint: Endpoint,
    /// What the caller said about it.
    pub metadata: &'a BTreeMap<String, String>,
    /// The seed of the choice.
    pub seed: u64,
    /// The target that answered the last request of the same session.
    pub bound: Option<EntryId>,
}

/// The order of the attempts.
#[derive(Debug, Clone, Copy)]
pub enum Plan<'c> {
    /// The one model that was asked for.
    Direct(Target<'c>),
    /// Targets of a virtual model.
    Routed {
        /// How it chooses.
        of: Routed<'c>,
        /// Who is tried, in this order.
        order: Order,
    },
}

/// Indices of targets, in the order in which they are tried; at least one, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    indices: [u8; MOST_TARGETS],
    length: usize,
}

/// One try.
#[derive(Debug, Clone, Copy)]
pub struct Step<'c> {
    /// What is tried.
    pub target: Target<'c>,
    /// The target of a virtual model that it is; `None`: it was asked for directly.
    pub routed: Option<RoutedTarget<'c>>,
}

/// How far a request has come on its plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The place in the order.
    at: usize,
    /// How often the target there was tried again.
    again: u8,
}

/// How an attempt ended that may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an answer of this HTTP status.
    Status(u16),
    /// Without an answer: no connection, a timeout, or one that broke off.
    Unanswered,
    /// It was not made, for what stands in the configuration: the same target would end so again.
    NotMade,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Where the request goes on.
    pub progress: Progress,
    /// After how many milliseconds.
    pub delay_ms: u32,
}

/// Plans the attempts for what was asked.
///
/// Among the targets of a virtual model those count that are there, enabled (model and account), can be asked for this,
/// and match the request's metadata. `health` tells how each of them fares.
///
/// # Errors
/// [`Denial::VirtualModelDisabled`], [`Denial::NoTarget`], [`Denial::ModelDisabled`], [`Denial::AccountDisabled`],
/// [`Denial::WrongKind`].
pub fn plan<'c>(
    config: &'c impl Configuration,
    resolved: Resolved<'c>,
    asking: &Asking<'_>,
    health: impl Fn(RoutedTarget<'_>) -> Health,
) -> Result<Plan<'c>, Denial> {
    match resolved {
        Resolved::Direct(target) => {
            check_target(config, target, asking.endpoint).map(|()| Plan::Direct(target))
        }
        Resolved::Virtual(it) => plan_routed(config, it, asking, health),
    }
}

/// Whether what a name stands for can be asked over this endpoint, whatever a request says.
pub fn takes(config: &impl Configuration, resolved: Resolved<'_>, endpoint: Endpoint) -> bool {
    match resolved {
        Resolved::Direct(target) => check_target(config, target, endpoint).is_ok(),
        Resolved::Virtual(it) => {
            let mut targets = Routed::of(config, it).targets();
            !it.disabled && targets.any(|target| usable(config, target, endpoint).is_some())
        }
    }
}

fn plan_routed<'c>(
    config: &'c impl Configuration,
    it: &'c ArchivedVirtualModelEntry,
    asking: &Asking<'_>,
    health: impl Fn(RoutedTarget<'_>) -> Health,
) -> Result<Plan<'c>, Denial> {
    if it.disabled {
        return Err(Denial::VirtualModelDisabled);
    }
    let of = Routed::of(config, it);
    let mut pool = Pool::default();
    for (index, target) in of.targets().take(MOST_TARGETS).enumerate() {
        if target.matches(asking.metadata) && usable(config, target, asking.endpoint).is_some() {
            let health = health(target);
            pool.add(Candidate::of(index, target, &health));
        }
    }
    let order = pool
        .order(of.strategy(), asking)
        .ok_or_else(|| no_target(config, of, asking.endpoint))?;
    Ok(Plan::Routed { of, order })
}

impl<'c> Plan<'c> {
    /// The attempt at a place of the plan; `None` where the configuration is not the one that was planned with.
    pub fn step(self, config: &'c impl Configuration, progress: Progress) -> Option<Step<'c>> {
        match self {
            Self::Direct(target) => Some(Step {
                target,
                routed: None,
            }),
            Self::Routed { of, order } => {
                let routed = of.targets().nth(order.get(progress.at)?)?;
                Some(Step {
                    target: find(config, routed)?,
                    routed: Some(routed),
                })
            }
        }
    }

    /// All that it may come to, each target once, in the order in which they are tried.
    pub fn targets(self, config: &'c impl Configuration) -> impl Iterator<Item = Step<'c>> {
        let first = Some(Progress::default());
        let all = std::iter::successors(first, move |at| self.other_target(*at));
        all.filter_map(move |at| self.step(config, at))
    }

    /// What follows when the attempt at `progress` ended so; `None`: nothing, and what was answered is the answer.
    #[must_use]
    pub fn next(self, progress: Progress, ended: Ended, wish: Option<&RetryWish>) -> Option<Next> {
        let routed = self.routed(progress);
        if let Some(delay_ms) = retries(routed, progress, ended, wish) {
            let progress = Progress {
                again: progress.again + 1,
                ..progress
            };
            return Some(Next { progress, delay_ms });
        }
        let falls_back = match ended {
            Ended::Unanswered | Ended::NotMade => true,
            Ended::Status(status) => routed.is_some_and(|it| it.falls_back_on(status)),
        };
        let progress = self.other_target(progress).filter(|_| falls_back)?;
        Some(Next {
            progress,
            delay_ms: 0,
        })
    }

    /// The place of the next target; `None`: there is no other.
    #[must_use]
    pub fn other_target(self, progress: Progress) -> Option<Progress> {
        let Self::Routed { order, .. } = self else {
            return None;
        };
        let at = progress.at + 1;
        order.get(at).map(|_| Progress { at, again: 0 })
    }

    /// Whether the attempt at the one place is at another target than that at the other.
    #[must_use]
    pub const fn is_other_target(self, one: Progress, other: Progress) -> bool {
        one.at != other.at
    }

    fn routed(self, progress: Progress) -> Option<RoutedTarget<'c>> {
        match self {
            Self::Direct(_) => None,
            Self::Routed { of, order } => of.targets().nth(order.get(progress.at)?),
        }
    }
}

/// After how long the same target is tried again; `None`: it is not.
fn retries(
    routed: Option<RoutedTarget<'_>>,
    progress: Progress,
    ended: Ended,
    wish: Option<&RetryWish>,
) -> Option<u32> {
    let rule = routed.and_then(RoutedTarget::retry);
    let delay_ms = rule.map_or(DEFAULT_RETRY_DELAY_MS, |rule| rule.delay_ms.to_native());
    let (attempts, is_listed) = match (wish, rule) {
        (Some(wish), _) => {
            let listed = |status: u16| wish.on_status_codes.contains(&status);
            (
                wish.attempts,
                matches!(ended, Ended::Status(it) if listed(it)),
            )
        }
        (None, Some(rule)) => {
            let listed = |status: u16| rule.on_status_codes.iter().any(|it| *it == status);
            (
                rule.attempts,
                matches!(ended, Ended::Status(it) if listed(it)),
            )
        }
        (None, None) => return None,
    };
    let applies = is_listed || ended == Ended::Unanswered;
    (applies && progress.again < attempts).then_some(delay_ms)
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

fn find<'c>(config: &'c impl Configuration, it: RoutedTarget<'c>) -> Option<Target<'c>> {
    let model = config.model(it.model())?;
    Some(Target {
        account: config.account(&model.account)?,
        model,
    })
}

fn usable<'c>(
    config: &'c impl Configuration,
    it: RoutedTarget<'c>,
    endpoint: Endpoint,
) -> Option<Target<'c>> {
    let target = find(config, it)?;
    check_target(config, target, endpoint).ok().map(|()| target)
}

// === the order ===

/// A target that may be tried.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    index: u8,
    model: EntryId,
    weight: u32,
    priority: u32,
    is_candidate: bool,
    rank: Rank,
    /// Its mean time per output token, in microseconds; `None`: too little is known of it.
    per_token_us: Option<u64>,
}

impl Candidate {
    fn of(index: usize, target: RoutedTarget<'_>, health: &Health) -> Self {
        Self {
            index: u8::try_from(index).unwrap_or(u8::MAX),
            model: *target.model(),
            weight: target.weight(),
            priority: target.priority(),
            is_candidate: target.is_candidate(),
            rank: Rank::of(target, health),
            per_token_us: health.per_token_us.filter(|_| health.calls >= FEWEST_CALLS),
        }
    }
}

/// All that may be tried, as listed.
#[derive(Debug)]
struct Pool {
    of: [Option<Candidate>; MOST_TARGETS],
    length: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            of: [None; MOST_TARGETS],
            length: 0,
        }
    }
}

impl Pool {
    fn add(&mut self, candidate: Candidate) {
        self.of[self.length] = Some(candidate);
        self.length += 1;
    }

    fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.of[..self.length].iter().flatten()
    }

    /// The first by the strategy, then whoever may be fallen back to; `None`: nobody is there.
    fn order(&self, strategy: StrategyEntry, asking: &Asking<'_>) -> Option<Order> {
        let bound = asking.bound.and_then(|bound| {
            self.iter()
                .find(|it| it.model == bound && it.rank < Rank::Open)
        });
        let first = match bound {
            Some(bound) => bound,
            None => self.first(strategy, asking.seed)?,
        };
        let mut order = Order {
            indices: [0; MOST_TARGETS],
            length: 0,
        };
        order.add(first.index);
        let place = |it: &Candidate| match strategy {
            StrategyEntry::Weight => (it.rank, 0, it.index),
            StrategyEntry::Priority => (it.rank, u64::from(it.priority), it.index),
            StrategyEntry::Latency => (it.rank, it.per_token_us.unwrap_or(0), it.index),
        };
        let others = || {
            self.iter()
                .filter(|it| it.is_candidate && it.index != first.index)
        };
        // Few enough for looking through them again and again, and no list has to be made.
        let mut last = None;
        while let Some(next) = others()
            .filter(|it| last.is_none_or(|last| place(it) > last))
            .min_by_key(|it| place(it))
        {
            order.add(next.index);
            last = Some(place(next));
        }
        Some(order)
    }

    fn first(&self, strategy: StrategyEntry, seed: u64) -> Option<&Candidate> {
        let highest = self.iter().map(|it| it.priority).min();
        // Whom the strategy itself may choose, be it well or not, and who may stand in for these.
        let is_chosen = |it: &Candidate| match strategy {
            StrategyEntry::Weight => it.weight > 0,
            StrategyEntry::Latency => true,
            StrategyEntry::Priority => Some(it.priority) == highest,
        };
        let in_question = || self.iter().filter(|it| is_chosen(it) || it.is_candidate);
        let Some(rank) = in_question().map(|it| it.rank).min() else {
            return self.iter().next();
        };
        let best = || in_question().filter(move |it| it.rank == rank);
        match strategy {
            StrategyEntry::Weight => by_weight(best, seed).or_else(|| best().next()),
            StrategyEntry::Priority => best().min_by_key(|it| (it.priority, it.index)),
            StrategyEntry::Latency => one_of_the_fastest(best, seed),
        }
    }
}

/// The one that the seed falls on; `None` where none has a weight.
fn by_weight<'p, I: Iterator<Item = &'p Candidate>>(
    among: impl Fn() -> I,
    seed: u64,
) -> Option<&'p Candidate> {
    let total: u64 = among().map(|it| u64::from(it.weight)).sum();
    let mut left = scale(seed, total);
    among().find(|it| {
        let weight = u64::from(it.weight);
        let falls_on_it = left < weight;
        left = left.saturating_sub(weight);
        falls_on_it
    })
}

/// One of those within 1.2 times of the fastest, or of which nothing is known, by chance.
fn one_of_the_fastest<'p, I: Iterator<Item = &'p Candidate>>(
    among: impl Fn() -> I,
    seed: u64,
) -> Option<&'p Candidate> {
    let fastest = among().filter_map(|it| it.per_token_us).min();
    let limit = fastest.map_or(u64::MAX, |it| it.saturating_mul(EQUAL_WITHIN_TENTHS) / 10);
    let is_equal = |it: &&Candidate| it.per_token_us.is_none_or(|mean| mean <= limit);
    let count = among().filter(is_equal).count() as u64;
    let chosen = usize::try_from(scale(seed, count)).unwrap_or(0);
    among().filter(is_equal).nth(chosen)
}

/// Maps all of u64 evenly onto `0..below` (Lemire 2019, without the rejection: the bias is below 2^-31 for sums of weights).
fn scale(seed: u64, below: u64) -> u64 {
    u64::try_from((u128::from(seed) * u128::from(below)) >> 64).unwrap_or(0)
}

impl Order {
    fn add(&mut self, index: u8) {
        self.indices[self.length] = index;
        self.length += 1;
    }

    fn get(&self, at: usize) -> Option<usize> {
        let indices = &self.indices[..self.length];
        indices.get(at).map(|index| usize::from(*index))
    }

    /// The indices of the targets, in the order in which they are tried.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        self.indices[..self.length]
            .iter()
            .map(|index| usize::from(*index))
    }
}

//! What gateways and the aggregator tell each other while a load runs, heard on NATS: how old a gateway's view of the others
//! gets, which share of a limit it was dealt, and what all of them together say that was used.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use events_schema::subjects;
use futures_util::StreamExt as _;
use gateway_policy::limits::Measure;
use gateway_policy::limits::message::{Broadcast, CounterId, Incarnation, Report};
use gateway_policy::limits::period::Period;
use gateway_policy::limits::share::Share;
use gateway_policy::limits::wire::{Pieces, shard_of};

use super::super::super::stack::Stack;
use crate::failure::{Doing as _, Failure, Outcome};
use crate::stack::{DataDir, secrets};

/// Subjects of what all gateways are told.
const TOLD: &str = "limits.told.*";

/// Reports of one gateway that are remembered until they are in what it is told: a minute's.
const MOST_REPORTS: usize = 600;

/// How often it is looked whether all gateways were told.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long that may take: until an aggregator is no longer new in office, and messages under way.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// A rule of which every request counts in one and the same counter of a day.
pub(super) type Rule = [u8; 16];

/// What is heard. It is listened until this is dropped.
pub(super) struct Bus {
    heard: Arc<Mutex<Heard>>,
    listening: tokio::task::JoinHandle<()>,
}

/// One shard of one life of a gateway.
type Part = (Incarnation, usize);

#[derive(Default)]
struct Heard {
    /// What was told last, of anything, came from an aggregator that is no longer new in office.
    is_settled: bool,
    /// When the load began.
    begun: Option<Instant>,
    /// The rules that are looked at, and their shards.
    rules: Vec<(Rule, usize)>,
    /// Whose views do not matter: lives that are asked nothing, have ended, or are cut off.
    ignored: BTreeSet<Incarnation>,
    /// When reports were heard, by their numbers.
    reports: BTreeMap<Part, VecDeque<(u64, Instant)>>,
    /// Of what each part was told last, when its own report was heard that this includes.
    views: BTreeMap<Part, Instant>,
    /// How old a view has become.
    oldest: Duration,
    shares: BTreeMap<(Rule, Incarnation), Share>,
    used: BTreeMap<Rule, u64>,
}

// === impl Bus ===

impl Bus {
    /// Begins to listen.
    pub(super) async fn listen(stack: &Stack) -> Outcome<Self> {
        let passwords = secrets::nats_passwords(&DataDir::locate(Some(&stack.data()))?)?;
        let nats = async_nats::ConnectOptions::new()
            .user_and_password("admin".to_owned(), passwords.admin)
            .connect(&stack.ready.nats)
            .await
            .doing(|| "connecting to NATS".to_owned())?;
        let subscribing = || "listening to gateways on NATS".to_owned();
        let reports = nats.subscribe(subjects::LIMITS_REPORTS).await;
        let mut reports = reports.doing(subscribing)?;
        let mut told = nats.subscribe(TOLD).await.doing(subscribing)?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let into = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            let mut pieces = Pieces::default();
            // Over a connection that is lost and comes back, both go on.
            loop {
                tokio::select! {
                    Some(message) = reports.next() => {
                        for (shard, report) in pieces.read(from(&message), &message.payload).unwrap_or_default() {
                            lock(&into).report(shard, &report);
                        }
                    }
                    Some(message) = told.next() => {
                        for (shard, broadcast) in pieces.read(from(&message), &message.payload).unwrap_or_default() {
                            lock(&into).told(shard, &broadcast);
                        }
                    }
                    else => return,
                }
            }
        });
        Ok(Self { heard, listening })
    }

    /// A load on these rules begins now, and the gateway that lives this life has no part in it.
    pub(super) fn watch(&self, rules: &[Rule], idle: Incarnation) {
        *lock(&self.heard) = Heard {
            begun: Some(Instant::now()),
            rules: rules.iter().map(|rule| (*rule, shard(*rule))).collect(),
            ignored: [idle].into(),
            ..Heard::default()
        };
    }

    /// Waits until an aggregator deals out shares that is no longer new in office, and so raises them again.
    pub(super) async fn wait_until_settled(&self) -> Outcome {
        lock(&self.heard).is_settled = false;
        let is_settled = || lock(&self.heard).is_settled;
        wait_until(is_settled, "the aggregator is still new in office").await
    }

    /// From now on the view of this life does not matter, until another load begins.
    pub(super) fn ignore(&self, life: Incarnation) {
        lock(&self.heard).ignored.insert(life);
    }

    /// The share of a rule's counter that a life was dealt last; `None`: it was told nothing.
    pub(super) fn share(&self, rule: Rule, life: Incarnation) -> Option<Share> {
        lock(&self.heard).shares.get(&(rule, life)).copied()
    }

    /// How old the view of any life has become that matters, since the load began.
    pub(super) fn delay(&self) -> Duration {
        lock(&self.heard).oldest
    }

    /// How many lives were told anything since then.
    pub(super) fn lives(&self) -> u64 {
        let heard = lock(&self.heard);
        let lives: BTreeSet<&Incarnation> = heard.views.keys().map(|(life, _)| life).collect();
        lives.len() as u64
    }

    /// Waits until all have been told of what each has done until now; returns what was used of a rule's limit, as they say.
    pub(super) async fn used(&self, rule: Rule) -> Outcome<u64> {
        let now = Instant::now();
        let all_are_told = || {
            let heard = lock(&self.heard);
            let mut views = heard.views.iter();
            views.all(|((life, _), made)| *made > now || heard.ignored.contains(life))
        };
        wait_until(all_are_told, "not every gateway is told what all have used").await?;
        Ok(lock(&self.heard).used.get(&rule).copied().unwrap_or(0))
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

// === impl Heard ===

impl Heard {
    fn report(&mut self, shard: usize, report: &Report) {
        if !self.rules.iter().any(|(_, of)| *of == shard) {
            return;
        }
        let part = (report.incarnation, shard);
        let reports = self.reports.entry(part).or_default();
        if reports.len() == MOST_REPORTS {
            reports.pop_front();
        }
        reports.push_back((report.number, Instant::now()));
    }

    fn told(&mut self, shard: usize, broadcast: &Broadcast) {
        self.is_settled = !broadcast.adopting;
        let rules = self.rules.iter().filter(|(_, of)| *of == shard);
        let rules: Vec<Rule> = rules.map(|(rule, _)| *rule).collect();
        let Some(begun) = self.begun.filter(|_| !rules.is_empty()) else {
            return;
        };
        let life = broadcast.to;
        let part = (life, shard);
        if let Some(made) = self.views.get(&part)
            && !self.ignored.contains(&life)
        {
            self.oldest = self.oldest.max((*made).max(begun).elapsed());
        }
        let reports = self.reports.entry(part).or_default();
        while reports.len() > 1 && reports[1].0 <= broadcast.includes {
            reports.pop_front();
        }
        if let Some((_, made)) = reports.front().filter(|it| it.0 <= broadcast.includes) {
            self.views.insert(part, *made);
        }
        for rule in rules {
            let row = broadcast.rows.iter().find(|it| it.counter.rule == rule);
            let own = row.and_then(|row| row.share);
            let day = Period::Day.index();
            let other = if broadcast.apart[day].holds(&counter(rule)) {
                Share::NONE
            } else {
                broadcast.base[day]
            };
            self.shares.insert((rule, life), own.unwrap_or(other));
            if let Some(row) = row {
                let used = row.slots.iter().map(|slot| slot.total).sum();
                self.used.insert(rule, used);
            }
        }
    }
}

async fn wait_until(holds: impl Fn() -> bool, else_say: &str) -> Outcome {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > TOLD_WITHIN {
            let seconds = TOLD_WITHIN.as_secs();
            return Err(Failure::new(format!("after {seconds} s {else_say}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Who sent a message, or to whom it was sent: its subject says so.
fn from(message: &async_nats::Message) -> u128 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(message.subject.as_str(), &mut hasher);
    u128::from(std::hash::Hasher::finish(&hasher))
}

/// A rule's one counter, of requests.
const fn counter(rule: Rule) -> CounterId {
    CounterId {
        rule,
        measure: Measure::Requests,
        period: Period::Day,
        segment: [0; 16],
    }
}

/// Its shard, whatever it counts.
fn shard(rule: Rule) -> usize {
    shard_of(&counter(rule))
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use gateway_policy::limits::{
        marks::{Apart, Full},
        message::{BroadcastId, Steady},
    };

    use super::*;

    const RULE: Rule = [3; 16];
    const LIFE: Incarnation = Incarnation([4; 16]);

    fn watching() -> Heard {
        Heard {
            begun: Some(Instant::now()),
            rules: vec![(RULE, shard(RULE))],
            ..Heard::default()
        }
    }

    fn report(number: u64) -> Report {
        Report {
            incarnation: LIFE,
            number,
            sent_at: Steady(0),
            heard: None,
            base: [Share::NONE; _],
            apart: Apart::default(),
            leaving: false,
            rows: Vec::new(),
        }
    }

    fn told(includes: u64) -> Broadcast {
        Broadcast {
            id: BroadcastId { term: 1, number: 1 },
            to: LIFE,
            includes,
            sent_at: Steady(0),
            adopting: false,
            base: [Share::of_2_32(9); _],
            apart: Apart::default(),
            full: Full::default(),
            rows: Vec::new(),
        }
    }

    #[test]
    fn a_view_is_as_old_as_the_report_that_it_includes() {
        let (mut heard, at) = (watching(), shard(RULE));
        heard.told(at, &told(1));
        assert_eq!(heard.views.len(), 0, "that report was not heard");
        for number in 1..=3 {
            heard.report(at, &report(number));
        }
        let made = |heard: &Heard| heard.views[&(LIFE, at)];
        let second = heard.reports[&(LIFE, at)][1].1;
        heard.told(at, &told(2));
        assert_eq!(made(&heard), second);
        assert_eq!(heard.oldest, Duration::ZERO);
        heard.told(at, &told(3));
        assert!(heard.oldest > Duration::ZERO);
        assert!(made(&heard) > second);
        assert_eq!(heard.shares[&(RULE, LIFE)], Share::of_2_32(9));
    }

    #[test]
    fn the_views_of_those_who_are_cut_off_do_not_matter() {
        let (mut heard, at) = (watching(), shard(RULE));
        heard.ignored.insert(LIFE);
        heard.report(at, &report(1));
        heard.told(at, &told(1));
        heard.told(at, &told(1));
        assert_eq!(heard.oldest, Duration::ZERO);
    }
}

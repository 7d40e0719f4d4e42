//! Which thresholds of budgets were reached: one entry for each counter and window, until the window is over.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Organisation, evolve::Now};
use crate::{
    events::{BudgetAlertEvent, BudgetAmount, BudgetLimit, BudgetWindow, Stream},
    id::BudgetPolicyId,
    money::NanoUsd,
    time::Timestamp,
};

/// For how long after the end of its window an alert is remembered: requests that began in it may still be under way, and who
/// adds them up tells of it for as long, by another clock. An hour.
const REMEMBERED_US: i64 = 3_600_000_000;

/// How many alerts are remembered at most: those of a day's and a month's budget of 100,000 users. They take half a kilobyte each,
/// and callers choose how many counters there are where these are values of the metadata.
pub const MOST_BUDGET_ALERTS: usize = 250_000;

/// What alerts are about: a counter of a budget, in one window. Where the limit is changed within it, thresholds begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetAlertKey {
    /// The policy.
    pub policy: BudgetPolicyId,
    /// Which of its counters.
    pub segment: Uuid,
    /// How much may be used, of what, in which time.
    pub limit: BudgetLimit,
    /// When the window began.
    pub began_at: Timestamp,
}

/// Which thresholds a counter has reached in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetAlert {
    /// The policy.
    pub policy: BudgetPolicyId,
    /// Which of its counters, as request records name it.
    pub segment: Uuid,
    /// Of which limit.
    pub limit: BudgetLimit,
    /// When the window began.
    pub began_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// The thresholds, in percent.
    pub thresholds: BTreeSet<u8>,
    /// How much was used when the newest was raised.
    pub used: BudgetAmount,
    /// When the newest was raised.
    pub raised_at: Timestamp,
    /// The position of its event.
    pub position: u64,
}

impl BudgetAlert {
    /// What it is about.
    #[must_use]
    pub const fn key(&self) -> BudgetAlertKey {
        BudgetAlertKey {
            policy: self.policy,
            segment: self.segment,
            limit: self.limit,
            began_at: self.began_at,
        }
    }

    /// The highest threshold, in percent.
    #[must_use]
    pub fn highest(&self) -> u8 {
        self.thresholds.last().copied().unwrap_or(0)
    }
}

impl Organisation {
    /// What was reached of these counters in this window.
    #[must_use]
    pub fn budget_alert(&self, key: &BudgetAlertKey) -> Option<&BudgetAlert> {
        self.budget_alerts.get(key)
    }

    /// The alerts that hold at that time, by policy and counter: their windows are not over, and their policies are in force and
    /// still have these limits.
    pub fn current_budget_alerts(&self, at: Timestamp) -> impl Iterator<Item = &BudgetAlert> {
        let all = self.budget_alerts.values();
        all.filter(move |it| self.is_current(it, at))
    }

    /// Those of one policy.
    pub fn current_budget_alerts_of(
        &self,
        policy: BudgetPolicyId,
        at: Timestamp,
    ) -> impl Iterator<Item = &BudgetAlert> {
        let all = self.budget_alerts_of(policy);
        all.filter(move |it| self.is_current(it, at))
    }

    fn is_current(&self, alert: &BudgetAlert, at: Timestamp) -> bool {
        let policy = self.budget_policies.get(&alert.policy);
        let has_limit = policy.is_some_and(|it| !it.disabled && it.rule.has_limit(&alert.limit));
        has_limit && alert.ends_at > at
    }

    /// All alerts of a policy that are remembered.
    pub fn budget_alerts_of(&self, policy: BudgetPolicyId) -> impl Iterator<Item = &BudgetAlert> {
        self.budget_alerts
            .range(least(policy)..)
            .take_while(move |(key, _)| key.policy == policy)
            .map(|(_, alert)| alert)
    }

    /// Whether what was raised of a window that ends then is forgotten, since it has been over for long: nothing more may be
    /// raised of it. The log's own times say so, and no clock.
    #[must_use]
    pub fn has_forgotten_alerts_of(&self, ends_at: Timestamp) -> bool {
        self.alerts_forgotten_until
            .is_some_and(|until| ends_at <= until)
    }

    /// Whether another counter's alert can be remembered at that time: there are not too many, or some are over by then.
    #[must_use]
    pub fn has_room_for_alerts(&self, at: Timestamp) -> bool {
        let first = self.index.alerts_by_end.get_min();
        let is_over = |ends_at: Timestamp| ends_at.plus_micros(REMEMBERED_US) <= at;
        self.budget_alerts.len() < MOST_BUDGET_ALERTS
            || first.is_some_and(|(ends_at, _)| is_over(*ends_at))
    }

    pub(super) fn budget_alert_event(
        &mut self,
        now: Now,
        policy: BudgetPolicyId,
        event: &BudgetAlertEvent,
    ) {
        if !self.budget_policies.contains_key(&policy) {
            return;
        }
        self.alert_versions.insert(policy, now.stream_version);
        let BudgetAlertEvent::BudgetAlertRaised {
            segment,
            limit,
            began_at,
            ends_at,
            threshold,
            used,
        } = event;
        let mut alert = BudgetAlert {
            policy,
            segment: *segment,
            limit: *limit,
            began_at: *began_at,
            ends_at: *ends_at,
            thresholds: BTreeSet::from([*threshold]),
            used: *used,
            raised_at: now.at,
            position: now.position,
        };
        if let Some(before) = self.budget_alerts.get(&alert.key()) {
            alert.thresholds.extend(&before.thresholds);
        }
        self.put_budget_alert(alert);
        self.forget_alerts(now.at.plus_micros(-REMEMBERED_US));
    }

    pub(super) fn put_budget_alert(&mut self, alert: BudgetAlert) {
        let key = alert.key();
        self.drop_budget_alert(&key);
        self.index.alerts_by_end.insert((alert.ends_at, key));
        self.budget_alerts.insert(key, alert);
    }

    fn drop_budget_alert(&mut self, key: &BudgetAlertKey) {
        if let Some(old) = self.budget_alerts.remove(key) {
            self.index.alerts_by_end.remove(&(old.ends_at, *key));
        }
    }

    /// Forgets what was raised of windows that ended by then.
    fn forget_alerts(&mut self, until: Timestamp) {
        self.alerts_forgotten_until = self.alerts_forgotten_until.max(Some(until));
        while let Some((ends_at, key)) = self.index.alerts_by_end.get_min().copied()
            && self.has_forgotten_alerts_of(ends_at)
        {
            self.drop_budget_alert(&key);
        }
    }

    /// The policy is gone, and with it what was told of it.
    pub(super) fn drop_alerts_of(&mut self, policy: BudgetPolicyId) {
        let keys: Vec<_> = self
            .budget_alerts_of(policy)
            .map(BudgetAlert::key)
            .collect();
        for key in keys {
            self.drop_budget_alert(&key);
        }
        if let Some(version) = self.alert_versions.remove(&policy) {
            self.gone.insert(Stream::BudgetAlert(policy), version);
        }
    }
}

/// Comes before all alerts of a policy.
const fn least(policy: BudgetPolicyId) -> BudgetAlertKey {
    BudgetAlertKey {
        policy,
        segment: Uuid::nil(),
        limit: BudgetLimit {
            amount: BudgetAmount::Cost(NanoUsd::ZERO),
            window: BudgetWindow::Day,
        },
        began_at: Timestamp::MIN,
    }
}

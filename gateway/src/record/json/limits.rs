//! Limits as they were seen, as JSON: of a request that limits concern they are half of its record.

use events_schema::{
    events::{LimitMode, LimitWhenCutOff},
    usage::{CounterSeen, LimitMeasure, LimitOf, LimitSeen},
};

use super::Json;

/// What one takes about, in bytes.
const USUAL_BYTES: usize = 320;

impl Json<'_> {
    /// As a field, that is left out where there is nothing.
    pub(super) fn limits(&mut self, limits: Option<&[LimitSeen]>) {
        if let Some(limits) = limits {
            self.0.reserve(limits.len() * USUAL_BYTES);
            self.text(r#","limits":"#).list(limits, Json::limit);
        }
    }

    fn limit(&mut self, limit: &LimitSeen) {
        let LimitSeen {
            of,
            segment,
            measure,
            period,
            most,
            cost,
            counter,
            exceeded,
            mode,
            instead,
        } = limit;
        match of {
            LimitOf::Key(id) => self.text(r#"{"of":{"key":"#).id(*id),
            LimitOf::RateLimitPolicy(id) => {
                self.text(r#"{"of":{"rate_limit_policy":"#).id(*id);
            }
            LimitOf::BudgetPolicy(id) => self.text(r#"{"of":{"budget_policy":"#).id(*id),
        }
        self.text(r#"},"segment":"#).uuid(*segment);
        self.text(match measure {
            LimitMeasure::Requests => r#","measure":"requests","period":""#,
            LimitMeasure::Tokens => r#","measure":"tokens","period":""#,
            LimitMeasure::Cost => r#","measure":"cost","period":""#,
        });
        self.text(period.as_str());
        self.text(r#"","most":"#).number(*most);
        self.text(r#","cost":"#).number(*cost);
        self.counter(counter);
        self.text(match (exceeded, mode) {
            (false, Some(LimitMode::Enforce)) => r#"},"exceeded":false,"mode":"enforce""#,
            (true, Some(LimitMode::Enforce)) => r#"},"exceeded":true,"mode":"enforce""#,
            (false, Some(LimitMode::Audit)) => r#"},"exceeded":false,"mode":"audit""#,
            (true, Some(LimitMode::Audit)) => r#"},"exceeded":true,"mode":"audit""#,
            (false, None) => r#"},"exceeded":false"#,
            (true, None) => r#"},"exceeded":true"#,
        });
        if let Some(instead) = instead {
            self.text(r#","instead":""#)
                .text(instead.as_str())
                .text("\"");
        }
        self.text("}");
    }

    fn counter(&mut self, counter: &CounterSeen) {
        match *counter {
            CounterSeen::Shared {
                own,
                known,
                share,
                cut_off,
                free,
            } => {
                self.text(r#","counter":{"shared":{"own":"#).number(own);
                self.text(r#","known":"#).number(known);
                self.text(r#","share":"#).number(share);
                self.text(match cut_off {
                    None => "",
                    Some(LimitWhenCutOff::Alone) => r#","cut_off":"alone""#,
                    Some(LimitWhenCutOff::Open) => r#","cut_off":"open""#,
                    Some(LimitWhenCutOff::Closed) => r#","cut_off":"closed""#,
                });
                self.numbered(r#","free":"#, free);
            }
            CounterSeen::Leased {
                ceiling,
                taken,
                committed,
                cut_off,
                included,
            } => {
                self.text(r#","counter":{"leased":{"ceiling":"#)
                    .number(ceiling);
                self.text(r#","taken":"#).number(taken);
                self.text(r#","committed":"#)
                    .optional(committed, Json::number);
                self.text(r#","cut_off":"#).flag(cut_off);
                self.numbered(r#","included":"#, included);
            }
        }
        self.text("}");
    }

    fn numbered(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.text(name).number(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use events_schema::{
        id::Id,
        usage::{Instead, LimitPeriod, UsageRecord},
    };
    use uuid::Uuid;

    use super::{super::tests::check, *};
    use crate::record::batch::tests::record;

    #[test]
    fn limits_are_written_as_serde_writes_them() {
        let shared = CounterSeen::Shared {
            own: 3,
            known: u64::MAX,
            share: 1 << 32,
            cut_off: None,
            free: None,
        };
        let seen = LimitSeen {
            of: LimitOf::Key(Id::from_bytes([0xab; 16])),
            segment: Uuid::nil(),
            measure: LimitMeasure::Requests,
            period: LimitPeriod::Minute,
            most: 600,
            cost: 1,
            counter: shared,
            exceeded: false,
            mode: Some(LimitMode::Enforce),
            instead: None,
        };
        let kept = LimitSeen {
            of: LimitOf::RateLimitPolicy(Id::from_bytes([2; 16])),
            period: LimitPeriod::AtATime,
            counter: CounterSeen::Shared {
                own: 0,
                known: 1,
                share: 0,
                cut_off: None,
                free: Some(2),
            },
            mode: Some(LimitMode::Audit),
            ..seen
        };
        let leased = |committed, included: Option<u64>| LimitSeen {
            of: LimitOf::BudgetPolicy(Id::from_bytes([3; 16])),
            segment: Uuid::from_u128(u128::MAX / 3),
            counter: CounterSeen::Leased {
                ceiling: 10,
                taken: 9,
                committed,
                cut_off: included.is_some(),
                included,
            },
            exceeded: true,
            mode: None,
            ..seen
        };
        let mut all = vec![seen, kept, leased(None, None), leased(Some(7), Some(8))];
        let measures = [
            LimitMeasure::Requests,
            LimitMeasure::Tokens,
            LimitMeasure::Cost,
        ];
        all.extend(measures.map(|measure| LimitSeen { measure, ..seen }));
        let periods = [
            LimitPeriod::Minute,
            LimitPeriod::Hour,
            LimitPeriod::Day,
            LimitPeriod::Week,
            LimitPeriod::Month,
            LimitPeriod::Quarter,
            LimitPeriod::AtATime,
        ];
        all.extend(periods.map(|period| LimitSeen { period, ..seen }));
        let instead = [
            Instead::Open,
            Instead::Closed,
            Instead::Unanswered,
            Instead::Ended,
            Instead::Full,
            Instead::Left,
        ];
        all.extend(instead.map(|it| LimitSeen {
            instead: Some(it),
            ..seen
        }));
        let then = [
            LimitWhenCutOff::Alone,
            LimitWhenCutOff::Open,
            LimitWhenCutOff::Closed,
        ];
        all.extend(then.map(|then| LimitSeen {
            counter: CounterSeen::Shared {
                own: 0,
                known: 0,
                share: 7,
                cut_off: Some(then),
                free: None,
            },
            ..seen
        }));
        for limits in [all, Vec::new()] {
            check(&UsageRecord {
                limits: Some(limits),
                ..record(7)
            });
        }
    }
}

//! Whether a request may be paid from all budgets that concern it.

use super::{Lender, Stands, Wallet};
use crate::limits::message::Steady;

/// Where purses are, by places that the shell gives them.
pub trait Wallets {
    /// The wallet with the purse at a place, and its place in there.
    ///
    /// # Panics
    /// When there is none.
    fn wallet(&mut self, place: usize) -> (&mut Wallet, usize);
}

/// What a request may cost a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// The purse's place.
    pub purse: usize,
    /// How much.
    pub cost: u64,
    /// What the budget has to say about it.
    pub role: Role,
}

/// What a budget has to say about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It decides.
    Decides {
        /// Whether it refuses while nobody lends.
        closed: bool,
    },
    /// It refuses nothing, and what it would have refused is noted.
    Audits,
    /// It only counts.
    Tracks,
}

/// A request is not paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overspent {
    /// The purse's place.
    pub purse: usize,
    /// Why.
    pub why: Why,
}

/// Why a request is not paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The lease does not suffice, and another one may come.
    Lacks,
    /// The rest of the budget is lent, or held for requests under way.
    Held,
    /// Nobody lends any more, and the budget is closed then.
    CutOff,
    /// Less is left of the budget than the request may cost.
    TooLarge {
        /// What it may cost.
        cost: u64,
        /// What is left.
        left: u64,
    },
    /// The budget is used up.
    UsedUp,
}

impl Why {
    /// Of two the one that is told: that for which waiting helps least.
    const fn rank(self) -> u8 {
        match self {
            Self::Lacks => 0,
            Self::Held => 1,
            Self::CutOff => 2,
            Self::TooLarge { .. } => 3,
            Self::UsedUp => 4,
        }
    }

    /// Whether the same request is paid no more until the budget begins anew.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::UsedUp => true,
            Self::Lacks | Self::Held | Self::CutOff => false,
        }
    }

    /// Whether something may be lent for the request: else the treasury is not asked for what nobody will get.
    pub(in crate::limits) const fn may_be_lent(self) -> bool {
        match self {
            Self::Lacks | Self::CutOff => true,
            Self::Held | Self::TooLarge { .. } | Self::UsedUp => false,
        }
    }
}

/// Looks whether the budgets that decide suffice; nothing changes. Those that audit refuse nothing: the answer is the first
/// of them that would have.
///
/// `waited_since`: since when the request has waited, as long as it may. A budget that is open where nobody lends does not refuse
/// it for a lease about which nobody has said anything in that time.
///
/// # Errors
/// By which budget the request is not paid: of those that are used up the one that begins anew last.
///
/// # Panics
/// When a spending names a purse that is not there.
pub fn look_at(
    wallets: &mut (impl Wallets + ?Sized),
    spendings: &[Spending],
    lender: Lender,
    now: Steady,
    waited_since: Option<Steady>,
) -> Result<Option<usize>, Overspent> {
    let (mut worst, mut audited) = (None, None);
    for spending in spendings {
        let Spending { purse, cost, role } = *spending;
        let (wallet, at) = wallets.wallet(purse);
        let kept = &wallet.look()[at];
        let why = match role {
            Role::Tracks => continue,
            Role::Audits => {
                if kept.purse().exceeds(cost, kept.most()) {
                    audited = audited.or(Some(purse));
                }
                continue;
            }
            Role::Decides { closed } => {
                let lender = if wallet.has_left() {
                    Lender::Left
                } else {
                    lender
                };
                let is_answered =
                    || waited_since.is_none_or(|since| kept.purse().is_answered_since(since));
                match kept.purse().stands(cost, kept.most(), lender, now) {
                    Stands::Suffices => continue,
                    Stands::CutOff if !closed => continue,
                    Stands::Lacks if !closed && lender != Lender::Left && !is_answered() => {
                        continue;
                    }
                    Stands::CutOff => Why::CutOff,
                    Stands::Lacks => Why::Lacks,
                    Stands::Held => Why::Held,
                    Stands::TooLarge { left } => Why::TooLarge { cost, left },
                    Stands::UsedUp => Why::UsedUp,
                }
            }
        };
        let ends_at = kept.ends_at();
        let is_worse =
            |(other, until): &(Overspent, _)| (why.rank(), ends_at) > (other.why.rank(), *until);
        if worst.as_ref().is_none_or(is_worse) {
            worst = Some((Overspent { purse, why }, ends_at));
        }
    }
    match worst {
        Some((overspent, _)) => Err(overspent),
        None => Ok(audited),
    }
}

/// Asks the treasury for what the budgets that decide may have to pay: with their next reports.
///
/// # Panics
/// When a spending names a purse that is not there.
pub fn ask(wallets: &mut (impl Wallets + ?Sized), spendings: &[Spending], now: Steady) {
    for Spending { purse, cost, .. } in deciding(spendings) {
        let (wallet, at) = wallets.wallet(*purse);
        wallet.change(at).ask(*cost, now);
    }
}

/// The request was refused.
///
/// # Panics
/// When a spending names a purse that is not there.
pub fn refuse(wallets: &mut (impl Wallets + ?Sized), spendings: &[Spending]) {
    for Spending { purse, cost, .. } in deciding(spendings) {
        let (wallet, at) = wallets.wallet(*purse);
        wallet.change(at).refuse(*cost);
    }
}

/// Takes what the request may cost from all purses.
///
/// # Panics
/// When a spending names a purse that is not there.
pub fn spend(wallets: &mut (impl Wallets + ?Sized), spendings: &[Spending]) {
    for Spending { purse, cost, .. } in spendings {
        let (wallet, at) = wallets.wallet(*purse);
        wallet.change(at).take(*cost);
    }
}

fn deciding(spendings: &[Spending]) -> impl Iterator<Item = &Spending> {
    spendings
        .iter()
        .filter(|it| matches!(it.role, Role::Decides { .. }))
}

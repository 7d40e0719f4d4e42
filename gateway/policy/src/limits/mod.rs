//! Whether limits admit a request, at one gateway alone and at many together: a share of the remainder, reserve, then settle.
//!
//! - [`share`]: the rule of admission. [`period`]: the times in which limits count. [`cost`]: reserve and settle.
//! - [`counter`], [`admission`], [`gateway`]: what a gateway keeps and decides. [`message`], [`marks`], [`wire`]: what it says
//!   and hears.
//! - [`aggregator`]: how the counts of all gateways are added, and the shares dealt out.
//! - [`lease`]: budgets of money, of which a gateway spends only what was lent to it.
//! - [`seen`]: the same decision once more, from what the record of a request says.
//!
//! **Two bounds.** Let `L` be a limit, `n` the gateways (each life of each counts), `c` the largest single cost, `φ` the share
//! and `G` the view with which a gateway last admitted. A debt (tokens that a request used beyond what was reserved for it)
//! comes on top of both.
//!
//! 1. In a window in which no gateway was cut off for longer than [`counter::CUT_OFF_AFTER_US`] (ten seconds without an answer), no
//!    more is admitted than `L + Σ φ·(G_max − G) + n·c`, and always less than `2·L + n·c`: with some cut off for less than
//!    that, `L·(1 + Σ φ of those) + n·c` at most.
//! 2. Where `k` of them were cut off for longer, the policy's choice ([`counter::WhenCutOff`]) says what of those is added:
//!    - `alone`, which is usual: each admits no more than `L` in the whole window, and the others together no more than the first
//!      bound: `k·L` beside what the others admit.
//!    - `closed`: from then on each admits nothing. So the first bound holds in every window, whoever is cut off and for however
//!      long; but of what is under way at a time, what was admitted before may go on beside the bound, `k·L` at most.
//!    - `open`: each admits all that is asked of it, which has no bound; the others keep theirs.
//!
//! Which of both it is, is each gateway's own matter: it goes by its share for ten seconds, and then as its policy says. Usually that
//! is by what it knows, as if it were alone, so that it refuses nothing only because NATS is away.
//!
//! The first holds whatever messages are lost, late, doubled or out of order, since
//!
//! - what gateways report are absolute amounts that only grow, so `G` never counts what was not admitted, and `u` is exact;
//! - the shares that may be in use never sum above one: one is lowered, and its lowering confirmed by a report whose counts
//!   are in `G`, before another is raised;
//! - of a counter with shares of its own, a gateway that does not have it uses none until it was told one: broadcasts mark such
//!   counters ([`marks`]), and reports echo the marks;
//! - the share of a gateway that says nothing any more halves itself; what that frees is dealt out again for windows that
//!   began after it was free, since nobody knows what it admitted in those before.
//!
//! Of what is under way at a time ([`period::Period::AtATime`]) the same is the bound at any moment, over the gateways that have not been
//! silent for too long, since each holds at most what the last to be charged knew of it, and `u`; whoever was silent for
//! [`gateway::HELD_US`] counts for nothing any more, and does what the policy says.
//!
//! The simulation ([`crate::sim`]) applies the very terms that gateways do ([`counter::Terms::of_rate_limit`]), and checks both.

pub mod admission;
pub mod aggregator;
pub mod cost;
pub mod counter;
pub mod gateway;
pub mod lease;
pub mod marks;
pub mod message;
pub mod period;
pub mod seen;
pub mod share;
pub mod wire;

pub use cost::{
    AnswerBound, Estimate, Measure, Spend, Standing, Take, USUAL_ANSWER_TOKENS,
    estimate_input_tokens,
};
pub use period::SlotNumber;
pub use share::Share;

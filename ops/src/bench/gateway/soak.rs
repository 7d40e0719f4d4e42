//! Whether the gateway's memory stays as it is under full load.

use std::time::Duration;

use super::super::field::{Field, Kind, Who};
use super::super::load::Shape;
use super::super::stack::Server;
use super::super::{Figures, median, rounded, say};
use crate::failure::Outcome;

/// How often the memory is looked at, in a long soak.
const LOOK: Duration = Duration::from_secs(10);
/// How often at least.
const FEWEST_LOOKS: u32 = 6;

/// Keeps the gateway under full load, and compares its memory in the second sixth of the time with that in the last:
/// what fills up once, as buffers and the ring do, is full by then.
pub(super) async fn soak(field: &Field, gateway: &Server, time: Duration) -> Outcome<Figures> {
    let looks = u32::try_from(time.as_secs() / LOOK.as_secs()).unwrap_or(u32::MAX);
    let looks = looks.max(FEWEST_LOOKS);
    say(&format!("soaking for {} s", time.as_secs()));
    let mut resident = Vec::new();
    for _ in 0..looks {
        let shape = Shape {
            connections: 32,
            rate: None,
            time: time / looks,
        };
        field.turns(&[Who::Gateway], 1, shape, Kind::Whole).await?;
        resident.push(gateway.resident_mib()?);
    }
    let sixth = resident.len() / 6;
    let early = median(resident[sixth..2 * sixth].to_vec());
    let late = median(resident[resident.len() - sixth..].to_vec());
    let most = resident.iter().copied().fold(0.0, f64::max);
    let figures = [
        ("soak_rss_early_mib", early),
        ("soak_rss_late_mib", late),
        ("soak_rss_most_mib", most),
        ("soak_rss_growth_pct", (late / early - 1.0) * 100.0),
    ];
    let named = figures.map(|(name, value)| (name.to_owned(), rounded(value)));
    Ok(named.into_iter().collect())
}

//! Numbers for policies that stand in the order of a file. What the file does not change keeps its number, so that a rule that is
//! put between two others is the only difference.

/// From one rule to the next, where there is room: others can be put between them.
const STEP: u32 = 10;

/// Numbers that rise from each policy of a file to the next. `known`: of those that there are already, the number, and what
/// tells two of the same number apart; as many of them as possible keep theirs.
pub(super) fn numbers<T: Ord + Copy>(known: &[Option<(u32, T)>]) -> Vec<u32> {
    let kept = kept(known);
    around(&kept).unwrap_or_else(|| {
        let rising = (1_u32..).map(|nth| nth.saturating_mul(STEP));
        rising.take(known.len()).collect()
    })
}

/// The numbers that stay: of a longest part of the known ones that rises already.
fn kept<T: Ord + Copy>(known: &[Option<(u32, T)>]) -> Vec<Option<u32>> {
    let known_at: Vec<_> = (0..known.len())
        .filter_map(|at| Some((at, known[at]?)))
        .collect();
    // For each of them, how many rise up to it at most, and the one before it in those.
    let mut rising: Vec<(usize, Option<usize>)> = Vec::with_capacity(known_at.len());
    for (nth, (_, place)) in known_at.iter().enumerate() {
        let before = (0..nth).filter(|other| known_at[*other].1 < *place);
        let before = before.max_by_key(|other| rising[*other].0);
        rising.push((before.map_or(1, |other| rising[other].0 + 1), before));
    }
    let mut kept = vec![None; known.len()];
    let mut next = (0..rising.len()).max_by_key(|nth| rising[*nth].0);
    while let Some(nth) = next {
        let (at, (number, _)) = known_at[nth];
        kept[at] = Some(number);
        next = rising[nth].1;
    }
    kept
}

/// Numbers for the others, between those that stay; `None`: there is no room.
fn around(kept: &[Option<u32>]) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> = Vec::with_capacity(kept.len());
    while let Some(next) = kept.get(numbers.len()) {
        if let Some(number) = next {
            numbers.push(*number);
            continue;
        }
        let rest = &kept[numbers.len()..];
        let count = rest.iter().take_while(|it| it.is_none()).count();
        let below = rest.get(count).copied().flatten();
        numbers.extend(between(numbers.last().copied(), below, count)?);
    }
    Some(numbers)
}

/// So many numbers that rise, above the one and below the other.
fn between(above: Option<u32>, below: Option<u32>, count: usize) -> Option<Vec<u32>> {
    let count = i64::try_from(count).ok()?;
    let below = below.map_or(i64::from(u32::MAX) + 1, i64::from);
    // 0 is left free, unless it is needed.
    let above = above.map_or(if below > count { 0 } else { -1 }, i64::from);
    let step = ((below - above) / (count + 1)).min(i64::from(STEP));
    if step == 0 {
        return None;
    }
    (1..=count)
        .map(|nth| u32::try_from(above + nth * step).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policies by their numbers, where there are some, and by age, as far as it matters.
    fn check(known: &[Option<(u32, u8)>], expected: &[u32]) {
        assert_eq!(numbers(known), expected, "{known:?}");
    }

    #[test]
    fn what_is_new_is_numbered_in_steps() {
        check(&[], &[]);
        check(&[None, None, None], &[10, 20, 30]);
    }

    #[test]
    fn what_is_in_order_stays() {
        check(&[Some((3, 0)), Some((7, 0)), Some((100, 0))], &[3, 7, 100]);
        // Of two with one number, the older is first.
        check(&[Some((5, 1)), Some((5, 2))], &[5, 5]);
    }

    #[test]
    fn what_is_new_goes_between_what_stays() {
        check(&[Some((10, 0)), None, Some((20, 0))], &[10, 15, 20]);
        check(&[None, Some((10, 0)), None], &[5, 10, 20]);
        check(&[None, Some((1, 0))], &[0, 1]);
        check(
            &[Some((10, 0)), None, None, Some((13, 0))],
            &[10, 11, 12, 13],
        );
    }

    #[test]
    fn what_is_moved_in_the_file_is_all_that_moves() {
        // The last has become the first.
        check(&[Some((30, 0)), Some((10, 0)), Some((20, 0))], &[5, 10, 20]);
        check(
            &[Some((20, 0)), Some((30, 0)), Some((10, 0))],
            &[20, 30, 40],
        );
        check(&[Some((5, 2)), Some((5, 1))], &[2, 5]);
    }

    #[test]
    fn where_there_is_no_room_all_are_numbered_anew() {
        check(&[Some((10, 0)), None, Some((11, 0))], &[10, 20, 30]);
        check(&[None, Some((0, 0))], &[10, 20]);
        let last = u32::MAX;
        check(&[Some((last, 0)), None], &[10, 20]);
        check(&[Some((last - 2, 0)), None], &[last - 2, last - 1]);
    }
}

#![doc = include_str!("../README.md")]

pub mod answer;
pub mod body;
pub mod events;
pub mod head;
pub mod reference;
pub mod snapshot;

/// Cuts `text` into pieces whose sizes, 1 to 17 bytes, follow from a seed.
pub fn pieces(text: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed);
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // A linear congruential generator (Numerical Recipes); its high bits are the good ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = usize::try_from(state >> 24).unwrap_or(0) % 17 + 1;
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// The seeds of a target, and what was ever found, in the order of their names.
    fn seeds(target: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(target);
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
            .expect("the target has seeds")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} has seeds", folder.display());
        paths
    }

    fn replay(target: &str, check: fn(&[u8])) {
        for path in seeds(target) {
            // Shown when the check fails.
            println!("{}", path.display());
            check(&fs::read(&path).expect("a seed"));
        }
    }

    #[test]
    fn what_holds_of_heads_holds_of_the_seeds() {
        replay("head", super::head::check);
    }

    #[test]
    fn what_holds_of_bodies_holds_of_the_seeds() {
        replay("body", super::body::check);
    }

    #[test]
    fn what_holds_of_events_holds_of_the_seeds() {
        replay("events", super::events::check);
    }

    #[test]
    fn what_holds_of_answers_holds_of_the_seeds() {
        replay("answer", super::answer::check);
    }

    #[test]
    fn what_holds_of_snapshots_holds_of_the_seeds() {
        replay("snapshot", super::snapshot::check);
    }

    #[test]
    fn pieces_add_up_to_the_text() {
        let text: Vec<u8> = (0..=255).collect();
        for seed in 0..=255 {
            let pieces: Vec<&[u8]> = super::pieces(&text, seed).collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| (1..=17).contains(&piece.len())));
        }
    }
}

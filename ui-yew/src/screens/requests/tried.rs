//! The attempts of a request, each with its place in time.

use events_schema::usage::Attempt;
use yew::prelude::*;

use super::told::answer;
use crate::format;

/// The width of the picture of time, in its own units.
const WIDTH: u64 = 1_000;

/// Where an attempt's bar lies: its beginning, its length, and of this the wait for the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bar {
    begin: u64,
    length: u64,
    waiting: u64,
}

/// Each try at a model, in order; `reasons`: why each was made.
pub(super) fn tried(attempts: &[Attempt], reasons: &[String], duration_us: u64) -> Html {
    if attempts.is_empty() {
        return html!(<p class="sl-quiet">{ "It was refused before a model was tried." }</p>);
    }
    const COLUMNS: [&str; 9] = [
        "Model tried",
        "Answer",
        "Began after",
        "First byte",
        "First token",
        "Per token",
        "Took",
        "Tokens",
        "In time",
    ];
    let row = |(attempt, reason): (&Attempt, &String)| {
        let latency = |micros: Option<u64>| {
            micros.map_or_else(|| format::NOTHING.to_owned(), format::latency)
        };
        html!(
            <tr>
                <th scope="row">
                    { &attempt.target }
                    <div class="sl-reason">{ reason }</div>
                </th>
                <td data-label="Answer">{ answer(attempt) }</td>
                <td data-label="Began after">{ format::latency(attempt.began_us) }</td>
                <td data-label="First byte">{ latency(attempt.first_byte_us) }</td>
                <td data-label="First token">{ latency(attempt.first_token_us) }</td>
                <td data-label="Per token">{ latency(attempt.per_output_token_us) }</td>
                <td data-label="Took">{ format::latency(attempt.duration_us) }</td>
                <td data-label="Tokens">{ tokens(attempt) }</td>
                <td class="sl-bar-cell">{ picture(bar(attempt, duration_us)) }</td>
            </tr>
        )
    };
    html!(
        <table class="sl-diff sl-attempts" aria-label="Attempts">
            <thead><tr>{ for COLUMNS.iter().map(|column| html!(<th scope="col">{ *column }</th>)) }</tr></thead>
            <tbody>{ for attempts.iter().zip(reasons).map(row) }</tbody>
        </table>
    )
}

/// What it used: input and output. Of what was asked in vain, what it may have cost all the same.
fn tokens(attempt: &Attempt) -> String {
    let Some(tokens) = attempt.tokens else {
        return format::NOTHING.to_owned();
    };
    let about = if tokens.estimated { "≈ " } else { "" };
    let (input, output) = (format::count(tokens.input), format::count(tokens.output));
    format!("{about}{input} in, {output} out")
}

/// The waiting in a quiet colour, the answer in a strong one.
fn picture(bar: Bar) -> Html {
    let rect = |class: &'static str, x: u64, width: u64| html!(<rect {class} x={x.to_string()} y="0" width={width.to_string()} height="10" rx="2"></rect>);
    html!(
        <svg class="sl-bar" viewBox={format!("0 0 {WIDTH} 10")} preserveAspectRatio="none" aria-hidden="true">
            { rect("sl-bar-all", 0, WIDTH) }
            { rect("sl-bar-waiting", bar.begin, bar.length) }
            { rect("sl-bar-answer", bar.begin + bar.waiting, bar.length - bar.waiting) }
        </svg>
    )
}

fn bar(attempt: &Attempt, duration_us: u64) -> Bar {
    let whole = duration_us
        .max(attempt.began_us.saturating_add(attempt.duration_us))
        .max(1);
    let scaled = |micros: u64| {
        let scaled = u128::from(micros) * u128::from(WIDTH) / u128::from(whole);
        u64::try_from(scaled).unwrap_or(WIDTH)
    };
    let begin = scaled(attempt.began_us).min(WIDTH - 1);
    // Even the shortest can be seen.
    let length = scaled(attempt.duration_us).clamp(1, WIDTH - begin);
    let waiting = attempt.first_byte_us.map_or(length, scaled).min(length);
    Bar {
        begin,
        length,
        waiting,
    }
}

#[cfg(test)]
mod tests {
    use events_schema::id::ModelId;
    use events_schema::usage::Tokens;

    use super::*;

    fn attempt(began_us: u64, first_byte_us: Option<u64>, duration_us: u64) -> Attempt {
        Attempt {
            model: ModelId::from_bytes([0; 16]),
            target: "a/b".to_owned(),
            status: Some(200),
            error: None,
            began_us,
            first_byte_us,
            duration_us,
            sent: Some(true),
            tokens: None,
            first_token_us: None,
            per_output_token_us: None,
        }
    }

    fn check(attempt: &Attempt, duration_us: u64, expected: [u64; 3]) {
        let [begin, length, waiting] = expected;
        let expected = Bar {
            begin,
            length,
            waiting,
        };
        assert_eq!(bar(attempt, duration_us), expected);
    }

    #[test]
    fn tokens_are_told_with_how_well_they_are_known() {
        let check = |used: Option<Tokens>, expected: &str| {
            let attempt = Attempt {
                tokens: used,
                ..attempt(0, None, 0)
            };
            assert_eq!(tokens(&attempt), expected);
        };
        let used = Tokens {
            input: 1_200,
            output: 30,
            ..Tokens::default()
        };
        check(None, format::NOTHING);
        check(Some(used), "1,200 in, 30 out");
        let estimated = Tokens {
            estimated: true,
            ..used
        };
        check(Some(estimated), "≈ 1,200 in, 30 out");
    }

    #[test]
    fn a_bar_lies_where_the_attempt_was_in_time() {
        check(&attempt(250, Some(250), 500), 1_000, [250, 500, 250]);
        check(&attempt(0, None, 400), 1_000, [0, 400, 400]);
    }

    #[test]
    fn no_bar_is_outside_the_picture_or_too_short_to_be_seen() {
        check(&attempt(0, Some(0), 0), 0, [0, 1, 0]);
        check(&attempt(1_000, Some(9), 0), 1_000, [999, 1, 1]);
        check(&attempt(500, Some(2_000), 1_500), 100, [250, 750, 750]);
        check(&attempt(u64::MAX, None, u64::MAX), 1, [999, 1, 1]);
    }
}

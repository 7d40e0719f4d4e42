//! What holds for the whole organisation.

use commands::domain::{Command, SettingsCommand as S};
use events_schema::state::{Retention, SessionBounds};

use super::check;
use crate::support::world::{create_budget, dollars_per_month, name};

fn rename(to: Option<&str>) -> Command {
    let name = to.map(name);
    Command::Settings(S::RenameOrganisation { name })
}

fn keep(requests_days: u32, sums_days: u32) -> Command {
    let retention = Retention {
        requests_days,
        sums_days,
    };
    Command::Settings(S::ChangeRetention { retention })
}

fn bound(idle_minutes: u32, longest_hours: u32) -> Command {
    let bounds = SessionBounds {
        idle_minutes,
        longest_hours,
    };
    Command::Settings(S::ChangeSessionBounds { bounds })
}

#[test]
fn an_organisation_has_a_name_or_none() {
    check(&[], rename(None), "nothing");
    check(&[], rename(Some("Acme")), "organisation_renamed");
    let given = [rename(Some("Acme"))];
    check(&given, rename(Some("Acme")), "nothing");
    check(&given, rename(Some("Acme Inc.")), "organisation_renamed");
    check(&given, rename(None), "organisation_renamed");
}

#[test]
fn sums_are_kept_at_least_as_long_as_what_they_add_up_and_that_for_two_weeks_to_ten_years() {
    check(&[], keep(400, 1_200), "nothing");
    for (requests, sums) in [(14, 14), (30, 365), (3_650, 3_650)] {
        check(&[], keep(requests, sums), "retention_changed");
    }
    let requests =
        "422 bad_setting at requests_days: Request records are kept for 14 to 3,650 days.";
    check(&[], keep(13, 400), requests);
    check(&[], keep(3_651, 3_651), requests);
    let sums = "422 bad_setting at sums_days: Sums by the minute are kept for 14 to 3,650 days.";
    check(&[], keep(14, 3_651), sums);
    check(
        &[],
        keep(30, 29),
        "422 bad_setting at sums_days: Sums by the minute are kept at least as long as the request records.",
    );
    check(&[keep(30, 30)], keep(400, 1_200), "retention_changed");
}

#[test]
fn requests_are_kept_as_long_as_the_longest_window_of_a_budget_which_is_added_up_from_them() {
    let month = create_budget(1, "all", dollars_per_month(60));
    check(
        std::slice::from_ref(&month),
        keep(31, 400),
        "retention_changed",
    );
    check(
        std::slice::from_ref(&month),
        keep(30, 400),
        "422 bad_setting at requests_days: Request records are kept at least as long as the longest window of a budget, which is added up from them: that is 31 days.",
    );
    let too_short = "422 bad_policy at rule: It has a window of up to 31 days, and request records, from which a budget is added up again, are kept for 30: keep them for longer first.";
    check(&[keep(30, 400)], month.clone(), too_short);
    check(&[keep(31, 400)], month, "budget_policy_created");
}

#[test]
fn a_session_ends_without_use_and_in_any_case_within_bounds() {
    check(&[], bound(720, 168), "nothing");
    for (idle, longest) in [(5, 1), (60, 1), (10_080, 2_160)] {
        check(&[], bound(idle, longest), "session_bounds_changed");
    }
    let idle = "422 bad_setting at idle_minutes: A session ends after 5 to 10,080 minutes (7 days) without use.";
    check(&[], bound(4, 1), idle);
    check(&[], bound(10_081, 2_160), idle);
    let longest = "422 bad_setting at longest_hours: A session ends after 1 to 2,160 hours (90 days) in any case.";
    check(&[], bound(5, 0), longest);
    check(&[], bound(5, 2_161), longest);
    check(
        &[],
        bound(61, 1),
        "422 bad_setting at idle_minutes: A session cannot go unused for longer than it lasts.",
    );
}

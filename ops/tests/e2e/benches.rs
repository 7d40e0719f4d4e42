//! Each measurement, reduced: that it runs to its end and says what it promises. How fast anything is
//! only `cargo ops bench` can say.

use serde_json::Value;

use crate::stack::{alone, said, sluice};

/// Runs a measurement with these flags and returns its figures.
fn figures(flags: &str) -> Value {
    let _alone = alone();
    let mut args = vec!["bench", "--json", "--as-built"];
    args.extend(flags.split_whitespace());
    let output = sluice(&args);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("the last line is JSON")
}

fn check(figures: &Value, names: &[&str]) {
    for name in names {
        assert!(figures[name].is_number(), "{name} is missing in {figures}");
    }
}

#[test]
fn a_change_shows_at_the_gateway_while_no_request_fails() {
    let figures = figures("propagation --keys 100 --changes 10 --rate 20");
    check(&figures, &["p50_ms", "p99_ms"]);
    assert_eq!(figures["failed"], 0, "{figures}");
}

#[test]
fn a_gateway_starts_from_the_stream_from_its_disk_and_with_nothing() {
    let figures = figures("coldstart --keys 100 --starts 1");
    check(
        &figures,
        &[
            "stream_ready_ms",
            "disk_ready_ms",
            "empty_ready_ms",
            "rss_mib",
        ],
    );
    assert_eq!(figures["keys"], 100, "{figures}");
}

#[test]
fn the_gateway_is_measured_beside_plain_proxies() {
    let loaded = "--keys 70 --policies 3 --soak-seconds 1 --open-streams 300";
    let figures = figures(&format!("gateway --rounds 1 --seconds 0.3 {loaded}"));
    check(
        &figures,
        &[
            "cpu_ratio",
            "haproxy_cpu_ratio",
            "rps_ratio_c1",
            "rps_ratio_c32",
            "rps_ratio_c128",
            "load_core_busy_pct",
            "nats_down_latency_ratio",
            "nats_down_cpu_ratio",
            "loaded_cpu_ratio",
            "large_cpu_ratio",
            "stream_cpu_ratio",
            "stream_burst_cpu_ratio",
            "rss_mib",
            "soak_rss_late_mib",
        ],
    );
    check(
        &figures,
        &["added_p50_ms", "added_p99_ms", "added_p50_ms_at_250"],
    );
    assert!(figures["added_first_byte_ms"].is_number(), "{figures}");
    assert!(figures["open_streams_rss_mib"].is_number(), "{figures}");
    assert_eq!(figures["open_streams"], 300, "{figures}");
    // 128 on each.
    assert_eq!(figures["open_streams_connections"], 3, "{figures}");
    assert_eq!(figures["records_dropped"], 0, "{figures}");
}

#[test]
fn the_log_takes_events_from_many_clients_at_once() {
    check(&figures("append --events 200"), &["events_per_s", "p99_ms"]);
}

#[test]
fn the_lists_of_a_large_organisation_are_asked_for_and_looked_at() {
    let figures = figures("lists --people 60 --rounds 2 --visits 1 --starts 1");
    check(&figures, &["api_p95_ms", "console_p95_ms"]);
    check(&figures, &["start_ms", "start_rss_mib", "rss_mib"]);
    assert_eq!(figures["people"], 60, "{figures}");
}

#[test]
fn the_ledger_takes_records_and_loses_none_with_its_worker() {
    let figures = figures("ledger --rows 2000 --rate 200 --seconds 1 --kills 3");
    check(&figures, &["rows_per_s", "lag_p50_ms", "lag_p99_ms"]);
    assert_eq!(figures["lost"], 0, "{figures}");
    assert_eq!(figures["doubled"], 0, "{figures}");
}

#[test]
fn limits_hold_between_gateways_in_calm_and_while_something_fails() {
    let figures = figures("limits --quick");
    check(
        &figures,
        &[
            "sim_over_pct",
            "sim_partition_over_pct",
            "sim_partition_bound_pct",
            "sim_partition_long_over_pct",
            "sim_partition_long_bound_pct",
            "sim_skew_utilisation_pct",
            "sim_small_utilisation_pct",
            "sim_burst_over_per_gateway",
            "admit_ns",
            "gateway_bytes_per_counter",
            "aggregator_bytes_per_counter",
            "aggregator_bytes",
            "aggregator_reports_ms",
            "aggregator_round_ms",
            "aggregator_busy_round_ms",
            "aggregator_totals_ms",
            "real_overload_requests",
            "real_overload_tokens",
        ],
    );
    let trials = [
        "",
        "_uneven",
        "_aggregator_killed",
        "_nats_restarted",
        "_gateway_killed",
        "_gateway_cut_off",
    ];
    let units = [("requests", "pct"), ("tokens", "pct"), ("money", "nanousd")];
    for ((measured, unit), trial) in units
        .into_iter()
        .flat_map(|unit| trials.map(|trial| (unit, trial)))
    {
        let figure = |what: &str, unit: &str| {
            let name = format!("real_{what}_{measured}_{unit}{trial}");
            let figure = figures[&name].as_f64();
            figure.unwrap_or_else(|| panic!("{name} is missing in {figures}"))
        };
        let (over, bound) = (figure("over", unit), figure("bound", unit));
        assert!(over <= bound, "{measured}{trial}: {figures}");
        // Not all was used where something failed, or where this machine was too slow to ask for all.
        assert!(figure("used", "pct") > 50.0, "{measured}{trial}: {figures}");
    }
}

//! What each gateway serves, and whether the control plane itself is well.

use events_schema::api::status::{GatewayItem, Status};
use events_schema::report::{GatewayReport, ReportedTarget};
use events_schema::usage::Circuit;
use patternfly_yew::prelude::*;
use yew::prelude::*;

use crate::api::Client;
use crate::format;
use crate::remote::{Content, use_polled};
use crate::route::Screen;
use crate::widgets::copy::CopyButton;
use crate::widgets::heading::Heading;
use crate::widgets::label;
use crate::widgets::moment::Ago;

/// How long after its last answer it is asked again, in milliseconds: gateways report once a second.
const REFRESH_MS: u32 = 2_000;

impl Content for Status {}

impl Content for Vec<GatewayItem> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// The control plane, then its gateways.
#[component]
pub(crate) fn Gateways() -> Html {
    let status = use_polled((), Some(REFRESH_MS), |client: Client, ()| async move {
        client.get::<Status>("/status").await
    });
    let gateways = use_polled((), Some(REFRESH_MS), |client: Client, ()| async move {
        client.get::<Vec<GatewayItem>>("/gateways").await
    });
    let none = || {
        html!(
            <div class="sl-card">
                <EmptyState title="No gateway has reported" icon={Icon::Network}>
                    { "Start a gateway: it needs only the address of the stream. It loads the whole configuration by itself \
                       and shows up here within a second." }
                </EmptyState>
            </div>
        )
    };
    html!(
        <>
            <Heading screen={Screen::Gateways} />
            <section class="pf-v6-c-page__main-section sl-stack">
                { status.show(Html::default, |status| control_plane(status)) }
                { gateways.show(none, |gateways| html!({ for gateways.iter().map(gateway) })) }
            </section>
        </>
    )
}

fn control_plane(status: &Status) -> Html {
    html!(
        <div class="sl-card sl-pad">
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ "Control plane" }</h2>
                <Label label={format!("Sluice {}", status.version)} compact={true} />
            </div>
            if let Some(why) = &status.appends_stopped {
                <Alert inline={true} r#type={AlertType::Danger} title="Changes are refused">{ html!({ why }) }</Alert>
            }
            if let Some(why) = &status.ledger_error {
                <Alert inline={true} r#type={AlertType::Warning} title="The ledger cannot be asked">{ html!({ why }) }</Alert>
            }
            <dl class="sl-facts sl-facts-wide">
                { fact("Position", html!(<span class="sl-mono">{ format::count(status.position) }</span>)) }
                { fact("Published", html!(<span class="sl-mono">{ status.published.map_or_else(|| format::NOTHING.to_owned(), format::count) }</span>)) }
                { fact("Last change", status.recorded_at.map_or_else(|| html!(format::NOTHING), |at| html!(<Ago at={at.to_chrono()} />))) }
                { fact("Ledger since", html!(status.ledger_since.map_or_else(|| format::NOTHING.to_owned(), |at| format::time(at.to_chrono())))) }
                { fact("Gateway URL", html!(<span class="sl-mono">{ &status.gateway_url }</span>)) }
                { fact("State digest", digest(&status.state_digest)) }
                { fact("Log hash", digest(&status.hash)) }
            </dl>
        </div>
    )
}

fn fact(name: &'static str, value: Html) -> Html {
    html!(<div><dt>{ name }</dt><dd>{ value }</dd></div>)
}

fn digest(digest: &str) -> Html {
    html!(
        <span class="sl-digest">
            <code title={digest.to_owned()}>{ digest.get(..16).unwrap_or(digest) }</code>
            <CopyButton text={digest.to_owned()} label="the digest" />
        </span>
    )
}

/// What is to be said about a gateway at first sight.
fn verdict(item: &GatewayItem) -> (Color, Icon, String) {
    let report = &item.report;
    if !item.live {
        (Color::Red, Icon::Disconnected, "Not heard from".to_owned())
    } else if report.unproven {
        (
            Color::Orange,
            Icon::ExclamationTriangle,
            "Unproven".to_owned(),
        )
    } else if report.from_disk {
        (Color::Orange, Icon::OutlinedHdd, "From its disk".to_owned())
    } else if report.lacks_from.is_some() {
        (
            Color::Orange,
            Icon::ExclamationTriangle,
            "Lacks a sealed credential".to_owned(),
        )
    } else if item.lag > 0 {
        (
            Color::Blue,
            Icon::InProgress,
            format!("{} behind", format::count(item.lag)),
        )
    } else {
        (
            Color::Green,
            Icon::CheckCircle,
            "Up to date, proven".to_owned(),
        )
    }
}

fn gateway(item: &GatewayItem) -> Html {
    let report = &item.report;
    let (color, icon, label) = verdict(item);
    html!(
        <div class="sl-card sl-pad" key={report.gateway.to_string()}>
            <div class="sl-card-head">
                <h2 class="pf-v6-c-title pf-m-lg">{ format!("Gateway {}", format::short_id(&report.gateway.simple().to_string())) }</h2>
                <Label {label} {color} {icon} />
                <Label label={format!("Region {}", report.region)} compact={true} outline={true} />
            </div>
            <dl class="sl-facts sl-facts-wide">
                { fact("Serves position", html!(<span class="sl-mono">{ format::count(report.position) }</span>)) }
                { fact("Behind by", html!(format::count(item.lag))) }
                { fact("Entries", html!(format::count(report.entries))) }
                { fact("Entries digest", digest(&report.entries_digest)) }
                { fact("Refused entries", counted(report.refused_entries)) }
                { fact("Requests", html!(format!("{} ({} under way)", format::count(report.requests), report.in_flight))) }
                { fact("Records waiting", html!(waiting(report))) }
                { fact("Records dropped", counted(report.records_dropped)) }
                { fact("Heard from the stream", html!(format!("{} ago", format::latency(report.stream_silent_ms.saturating_mul(1_000))))) }
                { fact("Started", html!(<Ago at={report.started_at.to_chrono()} />)) }
                { fact("Last report", html!(<Ago at={item.seen_at.to_chrono()} />)) }
                { fact("Version", html!(&report.version)) }
            </dl>
            { targets(report.targets.as_deref().unwrap_or_default()) }
        </div>
    )
}

/// How the models fare that the gateway asked last.
fn targets(targets: &[ReportedTarget]) -> Html {
    if targets.is_empty() {
        return Html::default();
    }
    let line = |target: &ReportedTarget| {
        let health = &target.health;
        let (color, label) = match health.circuit {
            Circuit::Closed => (Color::Green, "Well"),
            Circuit::Probe => (Color::Orange, "Being tried"),
            Circuit::Open => (Color::Red, "Left alone"),
        };
        let mean = health.per_token_us.map_or_else(
            || "no answer remembered".to_owned(),
            |mean| {
                format!(
                    "{} a token, {} answers",
                    format::latency(mean),
                    health.calls
                )
            },
        );
        html!(
            <li key={target.model.to_string()}>
                <Label {label} {color} compact={true} />
                { label::code(&target.name) }
                <span class="sl-quiet">{ mean }</span>
            </li>
        )
    };
    html!(
        <>
            <h3 class="pf-v6-c-title pf-m-md sl-targets-title">{ "Targets" }</h3>
            <ul class="sl-targets">{ for targets.iter().map(line) }</ul>
        </>
    )
}

/// A count that should be zero.
fn counted(number: u64) -> Html {
    if number == 0 {
        return html!("0");
    }
    html!(<Label label={format::count(number)} color={Color::Red} compact={true} icon={Icon::ExclamationCircle} />)
}

fn waiting(report: &GatewayReport) -> String {
    format!(
        "{} in memory, {} on disk",
        format::count(report.records_in_ring),
        format::bytes(report.spool_bytes)
    )
}

//! A limit on how many requests are under way at a time, over two gateways of which one is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use events_schema::api::{commands::NewCommand, limits::LimitAmount, limits::LimitUsage};
use events_schema::events::{
    LimitMode, LimitUnit, LimitWhenCutOff, LimitWindow, RateLimit, RateLimitRule, When,
};
use events_schema::usage::LimitPeriod;
use http::{HeaderName, HeaderValue, Method, header::AUTHORIZATION};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client;
use crate::limits::Scene;
use crate::stack::{Info, block_on, wait_until};

/// The limit.
const MOST: u64 = 10;
/// How many of them the gateway holds that is killed.
const OF_THE_KILLED: u64 = 6;
/// How late the provider answers: later than the test ends.
const LATE: &str = "latency=100s";
/// Between two tries of a request that was refused.
const AGAIN: Duration = Duration::from_millis(50);
/// Nobody is refused any more when nobody was for so long: longer than a machine that has much to do stands still.
const QUIET: Duration = Duration::from_secs(3);
/// How long at least after its last report a gateway is not taken for dead.
const NOT_BEFORE: Duration = Duration::from_secs(9);
/// How long at most until what it held is free.
const NOT_AFTER: Duration = Duration::from_secs(20);

/// Requests that are sent to a gateway again and again until each is under way there.
struct Pressing {
    tasks: JoinSet<()>,
    refused: Arc<AtomicU64>,
}

impl Pressing {
    fn at(gateway: &Info, many: u64) -> Self {
        let refused = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..many {
            let (gateway, refused) = (gateway.clone(), Arc::clone(&refused));
            tasks.spawn(async move { until_under_way(&gateway, &refused).await });
        }
        Self { tasks, refused }
    }

    fn refused(&self) -> u64 {
        self.refused.load(SeqCst)
    }

    /// Waits until each of those that are not under way was refused a few times more.
    async fn are_refused(&self, times: u64) {
        let before = self.refused();
        wait_until("the others are refused", || async {
            match self.refused() - before {
                more if more >= times => Ok(()),
                more => Err(format!("{more} times")),
            }
        })
        .await;
    }

    /// Waits until nobody is refused any more.
    async fn are_under_way(&self) {
        let mut last = (self.refused(), Instant::now());
        wait_until("all are under way", || {
            let now = self.refused();
            if now != last.0 {
                last = (now, Instant::now());
            }
            let quiet = last.1.elapsed();
            async move {
                if quiet >= QUIET {
                    Ok(())
                } else {
                    Err(format!("{now} were refused"))
                }
            }
        })
        .await;
    }
}

/// Sends a request again and again until it is under way, and comes back when something has become of it.
async fn until_under_way(gateway: &Info, refused: &AtomicU64) {
    while is_refused(gateway).await {
        refused.fetch_add(1, SeqCst);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Sends one request; it comes back when it was refused, or when something has become of its gateway.
async fn is_refused(gateway: &Info) -> bool {
    let bearer = format!("Bearer {}", gateway.api_key);
    let headers = [
        (
            AUTHORIZATION,
            HeaderValue::from_str(&bearer).expect("a key is ASCII"),
        ),
        (
            HeaderName::from_static("x-mock-script"),
            HeaderValue::from_static(LATE),
        ),
    ];
    let body = json!({
        "model": "mock/fast",
        "messages": [{ "role": "user", "content": "long" }],
    });
    let url = format!("{}/v1/chat/completions", gateway.gateway);
    let answer = client::call(Method::POST, &url, &headers, Some(&body)).await;
    answer.is_ok_and(|it| it.status == 429)
}

async fn limit_to(scene: &Scene, most: u64) {
    let rule = RateLimitRule {
        when: When::default(),
        applies_per: [].into(),
        limits: [RateLimit {
            unit: LimitUnit::Requests,
            window: LimitWindow::AtATime,
            limit: most,
        }]
        .into(),
        overrides: [].into(),
        mode: LimitMode::Enforce,
        when_cut_off: LimitWhenCutOff::Alone,
    };
    let command = NewCommand::CreateRateLimitPolicy {
        name: "at-a-time".to_owned(),
        order: 1,
        rule: Box::new(rule),
    };
    let position = scene.command(command).await;
    scene.both_serve(position).await;
}

/// Waits until the console says that so many are under way.
async fn says(scene: &Scene, under_way: u64) {
    wait_until("the console says how many are under way", || async {
        let usage: LimitUsage = scene.session.get("/limit-usage").await;
        let at_a_time = |period| period == LimitPeriod::AtATime;
        let item = usage.items.iter().find(|it| at_a_time(it.period));
        match item.map(|it| (it.used, it.limit)) {
            Some((LimitAmount::Requests(used), LimitAmount::Requests(MOST)))
                if used == under_way =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[test]
fn what_a_gateway_held_that_was_killed_is_the_others_once_it_is_known_to_be_dead() {
    block_on(async {
        let scene = Scene::set().await;
        limit_to(&scene, MOST).await;
        let [first, second] = &scene.gateways;
        let mut at_second = Pressing::at(second, OF_THE_KILLED);
        says(&scene, OF_THE_KILLED).await;
        let at_first = Pressing::at(first, MOST);
        says(&scene, MOST).await;
        at_first.are_refused(4 * OF_THE_KILLED).await;
        says(&scene, MOST).await;

        scene.stack.signal("gateway-2", Signal::SIGKILL);
        let killed = Instant::now();
        while at_second.tasks.join_next().await.is_some() {}
        at_first.are_under_way().await;
        let free_after = killed.elapsed().saturating_sub(QUIET);
        assert!(
            (NOT_BEFORE..NOT_AFTER).contains(&free_after),
            "{free_after:?}"
        );
        says(&scene, MOST).await;
    });
}

//! Rate limits over two gateways, and two workers that deal out the shares.

use std::time::{Duration, Instant};

use events_schema::api::commands::NewCommand;
use events_schema::events::{
    LimitMode, LimitUnit, LimitWhenCutOff, LimitWindow, RateLimit, RateLimitRule, When,
};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::Answer;
use crate::stack::{Info, Session, Stack, block_on, chat, chat_with, wait_until};

/// Requests that go to each gateway at a time.
const AT_ONCE: usize = 8;
/// When the aggregator has told of everything that was admitted: several times as long as it takes.
const SETTLED: Duration = Duration::from_secs(2);
/// A loop that sends requests gives up when it has refused to end for so long.
const LONGEST: Duration = Duration::from_secs(60);

/// Two gateways of one stack, and who may change its configuration.
pub(crate) struct Scene {
    pub(crate) stack: Stack,
    pub(crate) session: Session,
    pub(crate) gateways: [Info; 2],
    /// When nothing was admitted for so long, nothing more will be.
    pub(crate) settled: Duration,
}

impl Scene {
    pub(crate) async fn set() -> Self {
        let stack = Stack::up_with(&["--second-gateway", "--second-control"]);
        let session = stack.sign_in().await;
        let port = stack.service("gateway-2")["port"].as_u64().expect("a port");
        let second = Info {
            gateway: format!("http://127.0.0.1:{port}"),
            ..stack.info.clone()
        };
        let gateways = [stack.info.clone(), second];
        Self {
            stack,
            session,
            gateways,
            settled: SETTLED,
        }
    }

    /// Everybody together may make so many requests a day, from now on, at both gateways.
    async fn limit(&self, requests: u64) {
        let rule = RateLimitRule {
            when: When::default(),
            applies_per: [].into(),
            limits: [RateLimit {
                unit: LimitUnit::Requests,
                window: LimitWindow::Day,
                limit: requests,
            }]
            .into(),
            overrides: [].into(),
            mode: LimitMode::Enforce,
            when_cut_off: LimitWhenCutOff::Alone,
        };
        let command = NewCommand::CreateRateLimitPolicy {
            name: "all".to_owned(),
            order: 1,
            rule: Box::new(rule),
        };
        let position = self.command(command).await;
        self.both_serve(position).await;
    }

    /// Changes the configuration; returns the position of what it made.
    pub(crate) async fn command(&self, command: NewCommand) -> u64 {
        let id = "0b".repeat(16);
        let done = self.session.try_command(&id, command).await;
        done.expect("the command is taken").position
    }

    /// A request whose answer is short, and known to be before it is sent.
    pub(crate) async fn ask(&self, gateway: &Info) -> Answer {
        let answer = short_chat(gateway).await;
        answer.expect("the gateway answers")
    }

    /// Waits until both gateways serve a position.
    pub(crate) async fn both_serve(&self, position: u64) {
        wait_until("both gateways serve it", || async {
            let gateways = self.session.live_gateways().await;
            let serve = gateways.iter().filter(|it| it.report.position >= position);
            if serve.count() == 2 {
                Ok(())
            } else {
                Err(format!("{gateways:?}"))
            }
        })
        .await;
    }

    /// Waits until the second gateway, which was this process, is there again.
    pub(crate) async fn lives_again(&self, before: i32) {
        let [_, second] = &self.gateways;
        wait_until("the second gateway is there again", || async {
            let ready = crate::client::get(&format!("{}/readyz", second.gateway), None).await;
            let status = ready.map_err(|failure| failure.to_string())?.status;
            if self.stack.pid("gateway-2") != before && status == 200 {
                Ok(())
            } else {
                Err(format!("{status}"))
            }
        })
        .await;
    }

    /// Sends requests to these gateways until none is admitted for a while; returns how many were.
    pub(crate) async fn use_up(&self, gateways: &[Info], meanwhile: impl AsyncFnOnce()) -> u64 {
        let begun = Instant::now();
        let send = async {
            let (mut admitted, mut last) = (0, Instant::now());
            while last.elapsed() < self.settled {
                assert!(
                    begun.elapsed() < LONGEST,
                    "{admitted} were admitted, and there is no end"
                );
                let all = gateways
                    .iter()
                    .flat_map(|it| std::iter::repeat_n(it, AT_ONCE));
                let asked = all.map(short_chat);
                for answer in join_all(asked).await {
                    let answer = answer.expect("the gateway answers");
                    match answer.status.as_u16() {
                        200 => (admitted, last) = (admitted + 1, Instant::now()),
                        429 => {}
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            }
            admitted
        };
        let (admitted, ()) = tokio::join!(send, meanwhile());
        admitted
    }
}

async fn short_chat(gateway: &Info) -> Result<Answer, String> {
    let body = json!({
        "model": "mock/fast",
        "max_tokens": 8,
        "messages": [{ "role": "user", "content": "again" }],
    });
    chat_with(gateway, &gateway.api_key, &body).await
}

/// At most two in a hundred more than the limit, and a request of each gateway; and nearly all of it.
fn kept(admitted: u64, limit: u64) {
    let most = limit + limit / 50 + 2;
    assert!(
        (limit * 95 / 100..=most).contains(&admitted),
        "{admitted} of {limit}"
    );
}

#[test]
fn two_gateways_keep_one_limit_between_them() {
    block_on(async {
        let scene = Scene::set().await;
        scene.limit(600).await;
        let admitted = scene.use_up(&scene.gateways, async || {}).await;
        kept(admitted, 600);
    });
}

#[test]
fn a_limit_holds_while_who_deals_out_the_shares_is_killed_and_nats_restarts() {
    block_on(async {
        let scene = Scene::set().await;
        scene.limit(1_500).await;
        let admitted = scene
            .use_up(&scene.gateways, async || {
                // Whichever of them deals out the shares.
                scene.stack.signal("projections", Signal::SIGKILL);
                scene.stack.signal("projections-2", Signal::SIGKILL);
                scene.stack.signal("nats", Signal::SIGKILL);
            })
            .await;
        kept(admitted, 1_500);
    });
}

#[test]
fn a_gateway_that_calls_itself_ready_refuses_nothing_that_there_is_room_for() {
    block_on(async {
        let scene = Scene::set().await;
        // What any newcomer may use unasked is a thousandth of it: less than what is asked for.
        scene.limit(2_000).await;
        let [first, second] = &scene.gateways;
        assert_eq!(
            chat(first, "mock/fast", "warm")
                .await
                .expect("an answer")
                .status,
            200
        );
        let before = scene.stack.pid("gateway-2");
        scene.stack.signal("gateway-2", Signal::SIGTERM);
        scene.lives_again(before).await;
        let asked = (0..AT_ONCE).map(|_| chat(second, "mock/fast", "at once"));
        for answer in join_all(asked).await {
            let answer = answer.expect("the gateway answers");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
}

#[test]
fn what_a_gateway_does_not_use_that_stands_still_the_other_does() {
    block_on(async {
        let scene = Scene::set().await;
        scene.limit(400).await;
        let [first, second] = &scene.gateways;
        let both = [first.clone(), second.clone()];
        // Both have a part in it.
        let answers = join_all(both.iter().map(|it| chat(it, "mock/fast", "first"))).await;
        assert!(answers.iter().flatten().all(|it| it.status == 200));
        scene.stack.signal("gateway-2", Signal::SIGSTOP);
        let admitted = scene.use_up(std::slice::from_ref(first), async || {}).await;
        scene.stack.signal("gateway-2", Signal::SIGCONT);
        // One each was admitted before, and what stands still may not have said so.
        assert!((360..=400).contains(&admitted), "{admitted}");
    });
}

//! Requests in the ledger, as the API finds them: by everything that it filters by, page by page, and one by one.

use events_schema::api::Page;
use events_schema::api::analytics::{RequestDetail, RequestItem};
use events_schema::time::Timestamp;

use crate::clock;
use crate::stack::{Session, Stack, block_on, chat, chat_as, wait_until};

/// The day before the test and the day after.
pub(crate) fn range() -> String {
    const DAY_US: i64 = 86_400_000_000;
    let now = i64::try_from(clock::now_us()).expect("it is no such time");
    let told = |micros| Timestamp::from_micros(micros).expect("a time");
    format!("from={}&to={}", told(now - DAY_US), told(now + DAY_US))
}

async fn found(session: &Session, filter: &str) -> Vec<RequestItem> {
    let path = format!("/analytics/requests?{}&limit=200{filter}", range());
    let page: Page<RequestItem> = session.get(&path).await;
    page.items
}

#[test]
fn requests_are_found_by_everything_that_the_ledger_knows_of_them() {
    let stack = Stack::up();
    block_on(async {
        let session = stack.sign_in().await;
        for number in 0..3 {
            let words = format!("request {number}");
            let answer = stack.chat(&words).await.expect("the gateway answers");
            assert!(answer.status.is_success(), "{}", answer.text());
        }
        chat(&stack.info, "mock/fast", "by its own name")
            .await
            .expect("the gateway answers");
        chat(&stack.info, "no-such-model", "nobody answers")
            .await
            .expect("the gateway answers");
        chat_as(&stack.info, "sk-sluice-nobody", "chat", "a stranger")
            .await
            .expect("the gateway answers");
        let all = wait_until("the ledger has them all", || async {
            let all = found(&session, "").await;
            if all.len() == 6 {
                Ok(all)
            } else {
                Err(format!("{} of 6", all.len()))
            }
        })
        .await;
        assert!(all.is_sorted_by(|one, next| one.received_at >= next.received_at));

        let answered = all.iter().find(|it| it.requested_model == stack.info.model);
        let answered = answered.expect("the virtual model was asked for");
        let of = |text: &Option<String>| text.clone().expect("it is known");
        let (owner, key, target) = (of(&answered.owner), of(&answered.key), of(&answered.target));
        let count = |like: &dyn Fn(&RequestItem) -> bool| all.iter().filter(|it| like(it)).count();
        let half = &answered.request.simple().to_string()[..20];
        let expected = [
            (
                format!("&owner={owner}"),
                count(&|it| it.owner.as_ref() == Some(&owner)),
            ),
            (
                format!("&key={key}"),
                count(&|it| it.key.as_ref() == Some(&key)),
            ),
            (
                format!("&target={target}"),
                count(&|it| it.target.as_ref() == Some(&target)),
            ),
            // Whoever has no key is refused before the model is looked at.
            (format!("&requested_model={}", stack.info.model), 3),
            ("&requested_model=no-such-model&failed=true".to_owned(), 1),
            ("&failed=false".to_owned(), 4),
            ("&outcome=success".to_owned(), 4),
            ("&outcome=unauthenticated&status=401".to_owned(), 1),
            ("&status=404".to_owned(), 1),
            ("&streamed=true".to_owned(), 0),
            ("&streamed=false".to_owned(), 6),
            (format!("&gateway={}", answered.gateway), 6),
            (format!("&gateway={}", answered.request), 0),
            (
                format!("&request={half}"),
                count(&|it| it.request.simple().to_string().starts_with(half)),
            ),
            (format!("&request={}", answered.request), 1),
            ("&requested_model=%27%20OR%201%3D1".to_owned(), 0),
        ];
        for (filter, expected) in expected {
            assert_eq!(found(&session, &filter).await.len(), expected, "{filter}");
        }

        // Page by page, without gap or repeat.
        let (mut seen, mut cursor, range) = (Vec::new(), String::new(), range());
        loop {
            let path = format!("/analytics/requests?{range}&limit=2{cursor}");
            let page: Page<RequestItem> = session.get(&path).await;
            seen.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, all);

        let one = |id: String| format!("/analytics/requests/{id}");
        let detail: RequestDetail = session.get(&one(answered.request.to_string())).await;
        assert_eq!(&detail.request, answered);
        assert_eq!(detail.key_label.as_deref(), Some("example"));
        let resolved = detail.resolved.expect("the name stands for something");
        assert_eq!(resolved.name.as_deref(), Some(stack.info.model.as_str()));
        assert!(
            resolved.stream.starts_with("virtual_model."),
            "{resolved:?}"
        );
        assert_eq!(detail.answered_by.and_then(|it| it.name), answered.target);
        assert_eq!(detail.targets.len(), 2);
        let grant = detail.rules[0]
            .of
            .as_ref()
            .expect("a grant opens the model");
        assert!(
            grant.stream.starts_with("grant.") && grant.name.is_some(),
            "{grant:?}"
        );
        assert!(detail.number > 0 && detail.epoch.is_some() && detail.seed.parse::<u64>().is_ok());
        let gateways = session.live_gateways().await;
        assert_eq!(gateways[0].report.incarnation, detail.incarnation);

        let nobody = uuid::Uuid::from_u128(answered.request.as_u128() ^ 1);
        for unknown in [nobody.to_string(), "0".repeat(32), "no-id".to_owned()] {
            let answer = session
                .try_get(&one(unknown))
                .await
                .expect("the API answers");
            assert_eq!(answer.status, 404, "{}", answer.text());
            assert!(answer.text().contains("not_found"), "{}", answer.text());
        }
    });
}

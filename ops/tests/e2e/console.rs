//! The console as an operator uses it, in a real Chromium.

use events_schema::api::Page;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::KeyItem;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

use crate::browser::Browser;
use crate::stack::{Stack, block_on};

/// The button that sends a dialog's form.
const SEND: &str = "[role=dialog] button[type=submit]";

#[test]
fn an_operator_sets_a_model_up_talks_to_it_and_sees_it_all() {
    let stack = Stack::up();
    block_on(async {
        let browser = Browser::start().await;
        let walk = AssertUnwindSafe(walk(&stack, &browser))
            .catch_unwind()
            .await;
        if let Err(panic) = walk {
            browser.picture("failed").await;
            std::panic::resume_unwind(panic);
        }
        browser.close().await;
    });
}

async fn walk(stack: &Stack, browser: &Browser) {
    sign_in(stack, browser).await;
    register_an_account(stack, browser).await;
    add_a_model(stack, browser).await;
    issue_a_key(stack, browser).await;
    see_a_change_come_in(stack, browser).await;
    chat(stack, browser).await;
    see_it_in_the_dashboard(stack, browser).await;
    see_it_in_the_history(stack, browser).await;
}

async fn sign_in(stack: &Stack, browser: &Browser) {
    browser.open(&stack.info.console).await;
    browser
        .fill("#field-email", &stack.info.operator.email)
        .await;
    browser.fill("#field-password", "not the password").await;
    browser.click("form button[type=submit]").await;
    browser
        .text_that("form", |text| text.contains("is wrong"))
        .await;
    browser
        .fill("#field-password", &stack.info.operator.password)
        .await;
    browser.click("form button[type=submit]").await;
    browser.find("header.pf-v6-c-masthead").await;
    browser.picture("dashboard-empty").await;
}

async fn register_an_account(stack: &Stack, browser: &Browser) {
    browser
        .open(&format!("{}/provider-accounts", stack.info.console))
        .await;
    browser.find("tr[data-name='mock']").await;
    browser.press("Add provider account").await;
    browser
        .choose("#field-provider", "OpenAI-compatible")
        .await;
    let mock = stack.service("mock-provider")["port"]
        .as_u64()
        .expect("a port");
    browser
        .fill("#field-base_url", &format!("http://127.0.0.1:{mock}/v1"))
        .await;
    browser.fill("#field-credential", "a secret").await;
    // A name that is taken is refused at its field.
    browser.fill("#field-name", "mock").await;
    browser.click(SEND).await;
    browser.find("[data-field=name] .pf-m-error").await;
    browser.picture("rejection").await;
    browser.fill("#field-name", "browser").await;
    browser.click(SEND).await;
    browser.find("tr[data-name='browser']").await;
    browser.picture("provider-accounts").await;
}

async fn add_a_model(stack: &Stack, browser: &Browser) {
    browser
        .open(&format!("{}/models", stack.info.console))
        .await;
    browser.press("Add model").await;
    browser.choose("#field-account", "browser").await;
    browser.fill("#field-name", "fast").await;
    browser.click(SEND).await;
    browser.find("tr[data-name='browser/fast']").await;
    browser.picture("models").await;
}

async fn issue_a_key(stack: &Stack, browser: &Browser) {
    browser.open(&format!("{}/keys", stack.info.console)).await;
    browser.press("Issue key").await;
    browser.click("#field-owner option:nth-of-type(2)").await;
    browser.fill("#field-label", "from the browser").await;
    browser.click(SEND).await;
    browser
        .text_that("[role=dialog]", |text| text.contains("sk-sluice-"))
        .await;
    browser.picture("key-shown-once").await;
    browser.click("[role=dialog] footer button").await;
    browser.find("tr[data-name='from the browser']").await;
}

/// What somebody else changes shows up without a reload.
async fn see_a_change_come_in(stack: &Stack, browser: &Browser) {
    let session = stack.sign_in().await;
    let keys: Page<KeyItem> = session.get("/keys?limit=100").await;
    let key = keys
        .items
        .iter()
        .find(|key| key.label == "from the browser")
        .expect("it was issued")
        .id;
    let relabel = NewCommand::RelabelKey {
        key,
        label: "from elsewhere".to_owned(),
    };
    let id = "0123456789abcdef0123456789abcdef";
    session
        .try_command(id, relabel)
        .await
        .expect("the key can be relabelled");
    browser.find("tr[data-name='from elsewhere']").await;
}

async fn chat(stack: &Stack, browser: &Browser) {
    browser
        .open(&format!("{}/playground", stack.info.console))
        .await;
    browser.choose("#field-model", "browser/fast").await;
    browser
        .fill("textarea[name=question]", "Hello from the browser")
        .await;
    browser.press("Send").await;
    let said = "[data-answering=false] .sl-said-text";
    browser.text_that(said, |text| !text.is_empty()).await;
    browser
        .text_that("[data-fact=target]", |text| text.contains("browser/fast"))
        .await;
    browser
        .text_that("[data-fact=tokens]", |text| text.contains('+'))
        .await;
    browser.picture("playground").await;
}

async fn see_it_in_the_dashboard(stack: &Stack, browser: &Browser) {
    browser.open(&stack.info.console).await;
    browser
        .text_that("tr[data-request]", |text| text.contains("browser/fast"))
        .await;
    browser.find("[data-chart] canvas").await;
    browser.picture("dashboard").await;
}

async fn see_it_in_the_history(stack: &Stack, browser: &Browser) {
    browser
        .open(&format!("{}/history", stack.info.console))
        .await;
    for kind in ["provider_account_registered", "model_added", "key_issued"] {
        browser.find(&format!("[data-kind={kind}]")).await;
    }
    browser.click("[data-kind=key_issued] button").await;
    browser
        .text_that("[data-kind=key_issued]", |text| {
            text.contains("from the browser")
        })
        .await;
    browser.picture("history").await;
}

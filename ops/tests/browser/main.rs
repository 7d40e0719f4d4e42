//! The console in a real, headless Chromium, against a whole stack: what a person does in the first
//! quarter of an hour.
//!
//! `SLUICE_TEST_STACK` names a stack that is up (the line that `up --detach` ends with); without it the
//! test brings up one of its own. `SLUICE_TEST_SCREENSHOTS` names a folder for pictures of what was seen.
//! Chromium and chromedriver must be installed: Debian's `chromium` and `chromium-driver`.

mod browser;
mod budgets;
mod by_keyboard;
mod keyboard;
mod looking_back;
mod phone;
mod reference;
mod refusals;
mod repricing;
mod roles;
mod stack;
#[path = "../../src/webdriver.rs"]
mod webdriver;

use std::error::Error;

use browser::{Browser, at_text};
use stack::{Operator, Stack};

/// How a test ends: any error is worth seeing whole.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[test]
fn a_newcomer_sets_up_a_model_and_a_key_chats_and_finds_it_all_again() -> Outcome {
    let stack = Stack::of_this_run()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let browser = Browser::start(&stack.console).await?;
        let outcome = async {
            first_quarter_of_an_hour(&browser, &stack).await?;
            by_keyboard::everything_goes_without_a_pointer(&browser, &stack).await?;
            roles::who_may_change_nothing_is_offered_nothing_and_refused(&browser, &stack).await?;
            phone::every_screen_fits_a_phone(&browser, &stack).await
        }
        .await;
        browser.picture("last").await?;
        browser.stop().await?;
        outcome
    })
}

async fn first_quarter_of_an_hour(browser: &Browser, stack: &Stack) -> Outcome {
    sign_in(browser, stack).await?;
    create_a_provider_account(browser, stack).await?;
    a_name_that_is_taken_is_refused_at_its_field(browser, stack).await?;
    add_a_model(browser).await?;
    issue_a_key(browser).await?;
    chat(browser).await?;
    the_request_is_in_the_dashboard(browser).await?;
    looking_back::a_request_leads_to_the_state_that_decided_on_it(browser).await?;
    the_events_are_in_the_history(browser).await?;
    looking_back::an_event_leads_to_the_state_after_it(browser).await?;
    reference::the_api_is_read_and_a_question_is_tried(browser).await?;
    the_theme_is_remembered(browser).await?;
    repricing::a_wrong_price_is_corrected(browser).await?;
    a_document_is_applied(browser).await?;
    budgets::a_budget_is_made_changed_and_taken_away(browser).await?;
    budgets::a_budget_that_is_used_up_is_told_of(browser).await?;
    refusals::what_a_policy_would_refuse_is_told(browser).await?;
    what_is_not_needed_goes_away(browser).await?;
    sign_out(browser).await
}

async fn sign_in(browser: &Browser, stack: &Stack) -> Outcome {
    browser.fill("email", &stack.operator.email).await?;
    browser.fill("password", "not the password").await?;
    browser.press("Sign in").await?;
    browser.see(".pf-v6-c-alert.pf-m-danger").await?;
    browser.picture("sign-in-refused").await?;
    sign_in_as(browser, &stack.operator).await
}

async fn sign_in_as(browser: &Browser, operator: &Operator) -> Outcome {
    browser.fill("email", &operator.email).await?;
    browser.fill("password", &operator.password).await?;
    browser.press("Sign in").await?;
    browser.see(".pf-v6-c-nav").await?;
    Ok(())
}

async fn create_a_provider_account(browser: &Browser, stack: &Stack) -> Outcome {
    browser.go("Provider accounts").await?;
    browser.press("Add provider account").await?;
    browser.fill("name", "browser").await?;
    browser.choose("provider", "OpenAI-compatible").await?;
    browser.fill("base_url", &stack.mock_provider).await?;
    browser
        .fill("credential", "a-credential-that-nobody-checks")
        .await?;
    let private = "input[name='allows_private_addresses']";
    browser.see(private).await?.click().await?;
    browser.fill("why", "made by the browser test").await?;
    browser.picture("provider-account-form").await?;
    browser.submit().await?;
    let account = "tr[data-name='browser']";
    browser
        .until_text(account, "Private addresses allowed")
        .await?;
    browser.picture("provider-accounts").await?;
    Ok(())
}

async fn a_name_that_is_taken_is_refused_at_its_field(browser: &Browser, stack: &Stack) -> Outcome {
    browser.press("Add provider account").await?;
    browser.fill("name", "browser").await?;
    browser.fill("base_url", &stack.mock_provider).await?;
    browser.submit().await?;
    browser
        .see("[data-field='name'] .pf-v6-c-helper-text__item.pf-m-error")
        .await?;
    browser.picture("refused-at-its-field").await?;
    browser.press("Cancel").await?;
    browser.until_gone("dialog[open]").await
}

async fn add_a_model(browser: &Browser) -> Outcome {
    browser.go("Models").await?;
    browser.press("Add model").await?;
    browser.find_and_choose("account", "browser").await?;
    browser.fill("name", "fast").await?;
    browser.submit().await?;
    browser.see("tr[data-name='browser/fast']").await?;
    browser.act("browser/fast", "Set price").await?;
    browser.fill("price.input", "2.50").await?;
    browser.fill("price.output", "10").await?;
    browser.submit().await?;
    browser
        .until_text("tr[data-name='browser/fast']", "$10.00")
        .await?;
    browser.picture("models").await
}

async fn issue_a_key(browser: &Browser) -> Outcome {
    browser.go("Virtual accounts").await?;
    browser.press("Create virtual account").await?;
    browser.fill("name", "browser-test").await?;
    browser.submit().await?;
    browser.see("tr[data-name='browser-test']").await?;
    browser.go("API keys").await?;
    browser.press("Issue key").await?;
    browser.find_and_choose("owner", "browser-test").await?;
    browser.fill("label", "browser test").await?;
    browser.fill("limits.requests_per_minute", "600").await?;
    browser.submit().await?;
    let secret = browser.see(".sl-secret input").await?;
    let key = secret.prop("value").await?.unwrap_or_default();
    assert!(
        key.starts_with("sk-sluice-") && key.len() == 53,
        "the key is shown whole: {}",
        key.len()
    );
    browser.picture("key-shown-once").await?;
    browser.press("I have copied it").await?;
    browser.see("tr[data-name='browser test']").await?;
    browser.picture("keys").await
}

/// What tells for some seconds that a change is served, in front of everything else.
const TOAST: &str = ".pf-m-toast .pf-v6-c-alert";

/// Waits until the gateway serves what was changed last.
async fn until_served(browser: &Browser) -> Outcome {
    browser.until_text(TOAST, "The gateway serves it.").await?;
    browser.until_gone(TOAST).await
}

async fn chat(browser: &Browser) -> Outcome {
    browser.go("Playground").await?;
    browser.until_gone(TOAST).await?;
    browser.find_and_choose("model", "browser/fast").await?;
    browser.fill("question", "What is a sluice?").await?;
    browser.press("Send").await?;
    // The facts are drawn when the answer has ended.
    browser
        .until_text("[data-fact='target']", "browser/fast")
        .await?;
    browser
        .until_text(".sl-said-model .sl-said-text", "")
        .await?;
    browser.see("[data-fact='tokens']").await?;
    browser.see("[data-fact='cost']").await?;
    browser.see("[data-fact='to first token']").await?;
    browser.picture("playground").await
}

async fn the_request_is_in_the_dashboard(browser: &Browser) -> Outcome {
    browser.go("Dashboard").await?;
    browser
        .until_text("tr[data-request]", "browser/fast")
        .await?;
    browser.see("[data-chart='Requests'] canvas").await?;
    browser.press("By model").await?;
    browser
        .until_text("[data-chart='Requests'] .sl-legend", "browser/fast")
        .await?;
    browser.picture("dashboard").await?;
    browser.see("tr[data-request] a").await?.click().await?;
    browser.until_text("h1", "Request for").await?;
    browser
        .until_text("[aria-label='Attempts']", "HTTP 200")
        .await
}

async fn the_events_are_in_the_history(browser: &Browser) -> Outcome {
    browser.go("History").await?;
    for kind in [
        "provider_account_registered",
        "model_added",
        "model_priced",
        "virtual_account_created",
        "key_issued",
    ] {
        browser.see(&format!("li[data-kind='{kind}']")).await?;
    }
    browser
        .until_text(
            "li[data-kind='provider_account_registered'] .sl-why",
            "made by the browser test",
        )
        .await?;
    let price = browser.see("li[data-kind='model_priced']").await?;
    price
        .find(at_text("button", "What changed").as_locator())
        .await?
        .click()
        .await?;
    browser
        .until_text(".sl-diff .sl-after", "2500000000")
        .await?;
    browser.picture("history").await
}

async fn the_theme_is_remembered(browser: &Browser) -> Outcome {
    browser.go("History").await?;
    browser
        .see("button[aria-label='Dark theme']")
        .await?
        .click()
        .await?;
    browser.see("html.pf-v6-theme-dark").await?;
    browser.reload().await?;
    browser.see("html.pf-v6-theme-dark .sl-timeline").await?;
    browser.picture("history-dark").await?;
    browser
        .see("button[aria-label='Theme of the system']")
        .await?
        .click()
        .await?;
    Ok(())
}

/// Takes away what was made, from the key to the account; so the test runs again on the same stack.
async fn what_is_not_needed_goes_away(browser: &Browser) -> Outcome {
    browser.go("API keys").await?;
    browser.act("browser test", "Disable").await?;
    browser.submit().await?;
    browser
        .until_text("tr[data-name='browser test']", "Disabled")
        .await?;
    take_away(browser, "API keys", "browser test", "Revoke").await?;
    take_away(browser, "Virtual accounts", "browser-test", "Delete").await?;
    an_account_with_models_is_not_deleted(browser).await?;
    take_away(browser, "Models", "browser/fast", "Delete").await?;
    take_away(browser, "Provider accounts", "browser", "Delete").await
}

async fn take_away(browser: &Browser, screen: &str, name: &str, action: &str) -> Outcome {
    browser.go(screen).await?;
    browser.act(name, action).await?;
    browser.submit().await?;
    browser.until_gone(&format!("tr[data-name='{name}']")).await
}

async fn an_account_with_models_is_not_deleted(browser: &Browser) -> Outcome {
    browser.go("Provider accounts").await?;
    browser.act("browser", "Delete").await?;
    browser
        .until_text(
            "dialog[open] .pf-v6-c-alert.pf-m-warning",
            "Model: browser/fast",
        )
        .await?;
    browser
        .see("dialog[open] footer button[type='submit'][disabled]")
        .await?;
    browser.picture("delete-refused").await?;
    browser.press("Cancel").await?;
    browser.until_gone("dialog[open]").await
}

/// A team, made by a document whose difference was looked at before.
async fn a_document_is_applied(browser: &Browser) -> Outcome {
    browser.go("Configuration file").await?;
    let document = "{sluice: v1, teams: [{name: browser-team}], models: []}";
    browser.fill("document", document).await?;
    browser.press("Show the difference").await?;
    browser.until_text(".sl-changes", "browser-team").await?;
    browser.picture("difference").await?;
    browser.press("Apply it").await?;
    browser
        .until_text(".pf-v6-c-alert.pf-m-success", "Done at position")
        .await?;
    browser.go("Teams").await?;
    browser.see("tr[data-name='browser-team']").await?;
    browser.picture("teams").await?;
    take_away(browser, "Teams", "browser-team", "Delete").await
}

async fn sign_out(browser: &Browser) -> Outcome {
    browser
        .see("button[aria-label='Your account']")
        .await?
        .click()
        .await?;
    browser.press("Sign out").await?;
    browser.see("input[name='password']").await?;
    Ok(())
}

//! From a request to the configuration that decided on it, and from an event to the state after it.

use crate::Outcome;
use crate::browser::{Browser, at_text};
use crate::keyboard::ENTER;

/// The log of requests, filtered; one of them; the state as of its position.
pub(crate) async fn a_request_leads_to_the_state_that_decided_on_it(browser: &Browser) -> Outcome {
    browser.go("Requests").await?;
    let requests = "tr[data-request]";
    browser.until_text(requests, "browser/fast").await?;
    browser.find_and_choose("target", "browser/fast").await?;
    browser.until_address("target=browser%2Ffast").await?;
    browser.choose("outcome", "Anything but success").await?;
    browser.until_address("failed=true").await?;
    browser.until_text("main", "No requests match").await?;
    browser.picture("requests-none").await?;
    browser.choose("outcome", "Success").await?;
    browser.until_text(requests, "browser/fast").await?;
    // What stands in the address is what is shown, also after the page was loaded again.
    browser.reload().await?;
    browser.until_text(requests, "browser/fast").await?;
    browser.until_address("outcome=success").await?;
    browser.picture("requests").await?;

    browser.see("tr[data-request] a").await?.click().await?;
    browser.until_text("h1", "Request for browser/fast").await?;
    browser
        .until_text("[data-part='attempts']", "asked for by its own name")
        .await?;
    browser
        .until_text("[data-part='decision']", "Allowed by the grant to")
        .await?;
    browser.picture("request").await?;
    let address = browser.address().await?;
    let id = address.rsplit('/').next().unwrap_or_default().to_owned();

    // By how its id begins, the request is found again.
    browser.go("Requests").await?;
    more_filters_stay_open(browser).await?;
    browser.fill("request", &id[..20]).await?;
    browser
        .see(&format!("tr[data-request='{id}'] a"))
        .await?
        .click()
        .await?;
    browser
        .until_text("[data-part='decision']", "as of position #")
        .await?;
    let decision = browser.see("[data-part='decision']").await?;
    decision
        .find(at_text("a", "The state as of then").as_locator())
        .await?
        .click()
        .await?;
    browser.until_text("h1", "State").await?;
    browser.until_address("position=").await?;
    browser
        .see("button[data-kind='model']")
        .await?
        .click()
        .await?;
    browser.see("tr[data-name='browser/fast']").await?;
    browser.picture("state-of-a-request").await
}

/// The last value among them is deleted: the field is still there to type another.
async fn more_filters_stay_open(browser: &Browser) -> Outcome {
    browser
        .see("details.sl-more-filters summary")
        .await?
        .click()
        .await?;
    browser.fill("status", "200").await?;
    browser.until_address("status=200").await?;
    browser.fill("status", "").await?;
    browser.until_address_without("status=").await?;
    browser.see("details.sl-more-filters[open]").await?;
    browser.fill("status", "5").await?;
    browser.fill("status", "").await?;
    browser.until_address_without("status=").await
}

/// The event by which the model had its price: the model as it was then, and what has become of it.
pub(crate) async fn an_event_leads_to_the_state_after_it(browser: &Browser) -> Outcome {
    browser.go("History").await?;
    let event = browser.see("li[data-kind='model_added']").await?;
    event
        .find(at_text("button", "What changed").as_locator())
        .await?
        .click()
        .await?;
    browser.see("li[data-kind='model_added'] .sl-links").await?;
    let event = browser.see("li[data-kind='model_added']").await?;
    event
        .find(at_text("a", "As it was then").as_locator())
        .await?
        .click()
        .await?;
    browser.until_text("h1", "State").await?;
    let model = "tr[data-name='browser/fast']";
    browser.until_text(model, "No price").await?;
    browser.until_text(model, "Changed").await?;
    browser.press("What differs").await?;
    browser.until_text(".sl-differences", "2500000000").await?;
    browser.picture("state").await?;
    // One event later it has its price; at the beginning there was nothing.
    browser
        .see("button[aria-label='One event later']")
        .await?
        .click()
        .await?;
    browser.until_text(model, "$10.00").await?;
    browser.fill("position", "1").await?;
    browser
        .see("input[name='position']")
        .await?
        .send_keys(&ENTER.to_string())
        .await?;
    browser.until_address("position=1").await?;
    browser.until_text("[data-part='position']", "#1").await?;
    browser.until_text("main", "Nothing matches").await?;
    browser.press("Now").await?;
    until_now(browser, "#1").await
}

/// Waits until the address names no position, and the position that is shown is the log's end rather than `before`.
async fn until_now(browser: &Browser, before: &str) -> Outcome {
    browser.until_address_without("position=").await?;
    // The label beside the position; the button that says the same is none.
    let label = "dl.sl-facts .pf-v6-c-label";
    browser.until_text(label, "Now").await?;
    let shown = browser.see("[data-part='position']").await?.text().await?;
    if shown == before || !shown.starts_with('#') {
        return Err(format!("now is {shown:?}, where {before} was shown before").into());
    }
    Ok(())
}

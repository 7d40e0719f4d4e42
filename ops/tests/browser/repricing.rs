//! A price was wrong: the difference is looked at, the correction is made, and a request tells of it.

use serde_json::json;

use crate::Outcome;
use crate::browser::Browser;

/// Writes a time into an input of times, which takes keys in the order of the browser's language only.
const SET: &str = "const [name, text] = arguments; const input = document.querySelector(`input[name='${name}']`); \
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, text); \
    input.dispatchEvent(new Event('input', { bubbles: true }));";

/// The time so many milliseconds ago, as an input takes it.
const AGO: &str = "return new Date(Date.now() - arguments[0]).toISOString().slice(0, 19);";

const HOUR_MS: u64 = 3_600_000;

/// Corrects what the chats until now have cost.
pub(crate) async fn a_wrong_price_is_corrected(browser: &Browser) -> Outcome {
    let page = browser.page();
    browser.go("Models").await?;
    browser.act("browser/fast", "Correct a price").await?;
    browser
        .see("dialog[open] footer button[type='submit'][disabled]")
        .await?;
    for (name, ago) in [("from", HOUR_MS), ("until", 0)] {
        browser.see(&format!("input[name='{name}']")).await?;
        let time = page.execute(AGO, vec![json!(ago)]).await?;
        page.execute(SET, vec![json!(name), time]).await?;
    }
    browser.fill("price.input", "5").await?;
    browser.fill("price.output", "20").await?;
    browser.press("Show the difference").await?;
    let shown = "[data-part='difference']";
    browser.until_text(shown, "In all").await?;
    browser.until_text(shown, "+$").await?;
    // What is changed must be looked at again.
    browser.fill("price.output", "25").await?;
    browser
        .see("dialog[open] footer button[type='submit'][disabled]")
        .await?;
    browser.until_gone(shown).await?;
    browser.press("Show the difference").await?;
    browser.until_text(shown, "+$").await?;
    browser
        .fill("why", "the provider's list said otherwise")
        .await?;
    browser.picture("repricing").await?;
    browser.submit().await?;
    crate::until_served(browser).await?;

    browser
        .act("browser/fast", "Corrections of its price")
        .await?;
    browser
        .until_text("[aria-label='Corrections']", "$25.00")
        .await?;
    browser.picture("repricings").await?;
    browser
        .see("dialog[open] button[aria-label='Close']")
        .await?
        .click()
        .await?;
    browser.go("History").await?;
    browser
        .until_text(
            "li[data-kind='usage_repriced'] .sl-why",
            "the provider's list said otherwise",
        )
        .await?;
    browser.go("Requests").await?;
    browser
        .until_text("tr[data-request]", "browser/fast")
        .await?;
    browser.see("tr[data-request] a").await?.click().await?;
    browser.until_text("h1", "Request for").await?;
    until_corrected(browser).await?;
    browser.picture("request-corrected").await
}

/// Waits until the request that is shown tells of the correction: the projections take a few seconds.
async fn until_corrected(browser: &Browser) -> Outcome {
    const LOOKS: usize = 60;
    for _ in 0..LOOKS {
        browser.until_text("dl.sl-facts", "Cost").await?;
        let page = browser.page();
        let text = page
            .execute("return document.body.innerText;", Vec::new())
            .await?;
        if text
            .as_str()
            .is_some_and(|it| it.contains("The price was corrected at position"))
        {
            return Ok(());
        }
        browser.reload().await?;
    }
    Err("the request does not tell of the correction".into())
}

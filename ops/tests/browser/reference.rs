//! The API as it describes itself: found, read, and a question tried with the session.

use crate::Outcome;
use crate::browser::Browser;

pub(crate) async fn the_api_is_read_and_a_question_is_tried(browser: &Browser) -> Outcome {
    browser.go("API reference").await?;
    browser.see("[data-tag='commands']").await?;
    browser.fill("search", "list requests").await?;
    browser.until_gone("[data-tag='commands']").await?;
    let operation = "[data-operation='list_requests']";
    browser
        .see(&format!("{operation} button"))
        .await?
        .click()
        .await?;
    browser
        .until_text(operation, "Whose id begins with")
        .await?;
    browser
        .until_text(&format!("{operation} .sl-snippet"), "curl -s")
        .await?;
    browser
        .see(&format!("{operation} .sl-try button[disabled]"))
        .await?;
    for (name, value) in [
        ("from", "2026-01-01T00:00:00Z"),
        ("to", "2026-06-01T00:00:00Z"),
    ] {
        let field = format!("{operation} input[name='{name}']");
        browser.see(&field).await?.send_keys(value).await?;
    }
    browser.press("Try it").await?;
    let answer = format!("{operation} .sl-try-answer");
    browser.until_text(&answer, "HTTP 200").await?;
    browser.until_text(&answer, "application/json").await?;
    browser.until_text(&answer, "\"next_cursor\": null").await?;
    browser.picture("api-reference").await?;

    // A refusal is an answer like any other.
    let from = browser
        .see(&format!("{operation} input[name='from']"))
        .await?;
    from.send_keys("x").await?;
    browser.press("Try it").await?;
    browser.until_text(&answer, "HTTP 422").await?;

    // What changes something is described, and not offered to be tried.
    browser.fill("search", "").await?;
    let command = "[data-operation='send_command']";
    browser
        .see(&format!("{command} button"))
        .await?
        .click()
        .await?;
    browser
        .until_text(command, "not offered to be tried")
        .await?;
    browser.until_gone(&format!("{command} .sl-try")).await
}

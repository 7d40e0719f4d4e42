//! What a policy would do is tried before it is made; what it would have refused is found again. On a phone as well.

use serde_json::json;

use crate::Outcome;
use crate::browser::Browser;

/// A phone's screen, in pixels.
const PHONE: (u32, u32) = (390, 844);

/// How much wider than the window the page is, in pixels.
const OVERHANG: &str = "return document.documentElement.scrollWidth - window.innerWidth;";

/// A budget that is still being filled in, asked what it would do: the rules of the gateway, in the browser.
pub(crate) async fn a_budget_is_tried_in_its_form(browser: &Browser) -> Outcome {
    let (mine, result) = ("li[data-policy='browser-budget']", ".sl-preview-result");
    browser.press("Try it on a request").await?;
    browser
        .find_and_choose("preview-caller", "browser-test")
        .await?;
    browser
        .find_and_choose("preview-model", "browser/fast")
        .await?;
    browser
        .until_text(result, "of the virtual account browser-test")
        .await?;
    // The example's budget for everything is older.
    browser.until_text(mine, "Counts").await?;
    browser
        .until_text("[data-part='preview']", "This budget would never decide")
        .await?;
    browser.fill("order", "1").await?;
    browser.until_text(mine, "Decides, and counts").await?;
    browser.until_text(mine, "all without a team").await?;
    browser.until_text(mine, "$5,000.00 a month").await?;
    browser
        .until_text("li[data-policy='everything-monthly']", "Counts")
        .await?;
    // Each letter counts.
    browser.fill("rule.when.metadata", "project=apollo").await?;
    browser
        .until_text(result, "The policy in this form does not match it")
        .await?;
    browser.fill("preview-metadata", "project=apollo").await?;
    browser.until_text(mine, "Decides, and counts").await?;
    browser.picture("budget-form-tried").await?;
    browser.fill("rule.when.metadata", "").await
}

/// A rate limit that only audits, requests that it would refuse, and where they are told.
pub(crate) async fn what_a_policy_would_refuse_is_told(browser: &Browser) -> Outcome {
    browser.go("Rate-limit policies").await?;
    browser.press("Create policy").await?;
    browser.fill("name", "browser-limit").await?;
    browser.fill("limit-0", "0").await?;
    browser
        .until_text("[data-field='rule.limits'] .pf-m-error", "at least 1")
        .await?;
    browser.fill("limit-0", "1").await?;
    browser.choose("limit-0-window", "a day").await?;
    browser
        .choose("rule.mode", "Only note what would have been refused")
        .await?;
    browser.submit().await?;
    crate::until_served(browser).await?;
    let row = "tr[data-name='browser-limit']";
    browser.until_text(row, "Audit only").await?;

    browser.press("Try on a request").await?;
    browser
        .find_and_choose("preview-caller", "browser-test")
        .await?;
    browser
        .find_and_choose("preview-model", "browser/fast")
        .await?;
    let policy = "li[data-policy='browser-limit']";
    browser.until_text(policy, "Applies").await?;
    browser.until_text(policy, "1 requests a day").await?;
    browser.picture("rate-limits-tried").await?;
    browser.press("Close").await?;
    browser.until_gone("dialog[open]").await?;

    two_questions(browser).await?;
    browser.go("Refusals").await?;
    let refused = "tr[data-by='browser-limit']";
    browser.until_text(refused, "Would be refused").await?;
    browser.picture("refusals").await?;
    it_fits_a_phone(browser, refused).await?;
    browser.choose("effect", "Refused").await?;
    browser.until_address("effect=refused").await?;
    browser.until_gone(refused).await?;
    browser.choose("effect", "Would be refused").await?;
    browser
        .see(&format!("{refused} [data-label='Requests'] a"))
        .await?
        .click()
        .await?;
    browser.until_text("h1", "Requests").await?;
    browser.until_address("audited=true").await?;
    browser
        .until_text("tr[data-request]", "browser/fast")
        .await?;
    browser.picture("requests-audited").await?;

    browser.go("Rate-limit policies").await?;
    browser.act("browser-limit", "Delete").await?;
    browser.submit().await?;
    browser.until_gone(row).await
}

/// Two requests: the second is more than one a day.
async fn two_questions(browser: &Browser) -> Outcome {
    browser.go("Playground").await?;
    browser.until_gone(crate::TOAST).await?;
    browser.find_and_choose("model", "browser/fast").await?;
    for question in ["The first?", "The second?"] {
        browser.fill("question", question).await?;
        browser.press("Send").await?;
        let asked = format!("//*[contains(@class, 'sl-said-user')][contains(., '{question}')]");
        let answered = format!(
            "{asked}/following-sibling::*[contains(@class, 'sl-said-model')]//*[@data-fact='target']"
        );
        browser.see_path(&answered).await?;
    }
    Ok(())
}

/// The screen is no wider than a phone.
async fn it_fits_a_phone(browser: &Browser, row: &str) -> Outcome {
    let page = browser.page();
    let before = page.get_window_size().await?;
    page.set_window_size(PHONE.0, PHONE.1).await?;
    // A page that begins so narrow keeps the navigation for when it is asked for.
    browser.reload().await?;
    browser.see(row).await?;
    let overhang = page.execute(OVERHANG, Vec::new()).await?;
    assert_eq!(overhang, json!(0), "the refusals are wider than a phone");
    browser.picture("refusals-phone").await?;
    let (width, height) = before;
    page.set_window_size(u32::try_from(width)?, u32::try_from(height)?)
        .await?;
    browser.reload().await?;
    browser.see(row).await?;
    Ok(())
}

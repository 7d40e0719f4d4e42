//! A budget is made, changed and taken away; on a phone as well.

use serde_json::json;

use crate::Outcome;
use crate::browser::Browser;
use crate::refusals;

/// A phone's screen, in pixels.
const PHONE: (u32, u32) = (390, 844);

/// How much wider than the window the page is, in pixels.
const OVERHANG: &str = "return document.documentElement.scrollWidth - window.innerWidth;";

pub(crate) async fn a_budget_is_made_changed_and_taken_away(browser: &Browser) -> Outcome {
    browser.go("Budgets").await?;
    browser.press("Create budget").await?;
    browser.fill("name", "browser-budget").await?;
    browser.fill("limit-0", "5,000").await?;
    browser.see("input[name='per-team']").await?.click().await?;
    browser.fill("rule.alerts", "75, 101").await?;
    browser.submit().await?;
    browser
        .see("[data-field='rule.alerts'] .pf-v6-c-helper-text__item.pf-m-error")
        .await?;
    browser.fill("rule.alerts", "75, 100").await?;
    refusals::a_budget_is_tried_in_its_form(browser).await?;
    browser.picture("budget-form").await?;
    browser.submit().await?;
    let row = "tr[data-name='browser-budget']";
    browser.until_text(row, "$5,000.00 a month").await?;
    browser.until_text(row, "for each team").await?;
    browser.until_text(row, "alerts at 75 and 100 %").await?;

    browser.act("browser-budget", "Change rule").await?;
    browser.press("Add limit").await?;
    browser.fill("limit-1", "1,000,000").await?;
    browser.choose("limit-1-window", "a day").await?;
    browser
        .choose("rule.mode", "Only note what would have been refused")
        .await?;
    browser.submit().await?;
    browser.until_text(row, "1,000,000 tokens a day").await?;
    browser.until_text(row, "Audit only").await?;
    browser.picture("budgets").await?;
    it_fits_a_phone(browser).await?;
    browser.act("browser-budget", "Delete").await?;
    browser.submit().await?;
    browser.until_gone(row).await
}

/// One token a day is little: the next request uses it up, and that is told wherever one looks.
pub(crate) async fn a_budget_that_is_used_up_is_told_of(browser: &Browser) -> Outcome {
    browser.go("Budgets").await?;
    browser.press("Create budget").await?;
    browser.fill("name", "browser-alert").await?;
    browser.choose("limit-0-unit", "tokens").await?;
    browser.fill("limit-0", "1").await?;
    browser.choose("limit-0-window", "a day").await?;
    browser
        .choose("rule.mode", "Only note what would have been refused")
        .await?;
    browser.fill("rule.alerts", "75, 100").await?;
    browser.submit().await?;
    crate::until_served(browser).await?;
    let row = "tr[data-name='browser-alert']";
    browser.until_text(row, "1 tokens a day").await?;
    crate::chat(browser).await?;

    browser.go("Limits in use").await?;
    let alerts = "[data-part='budget-alerts']";
    browser.until_text(alerts, "browser-alert").await?;
    browser.until_text(alerts, "100 % reached").await?;
    browser.picture("budget-alerts").await?;
    browser.press("Used up").await?;
    browser.until_address("percent=100").await?;
    browser
        .until_text(".sl-usage-name", "browser-alert")
        .await?;
    it_is_no_wider_than_a_phone(browser, alerts, "budget-alerts-phone").await?;
    browser.go("Dashboard").await?;
    browser.until_text(alerts, "browser-alert").await?;
    browser.go("History").await?;
    let event = "li[data-kind='budget_alert_raised']";
    browser.until_text(event, "browser-alert").await?;
    browser.go("Budgets").await?;
    browser.until_text(row, "100 % reached").await?;
    browser.act("browser-alert", "Delete").await?;
    browser.submit().await?;
    browser.until_gone(row).await
}

/// A screen on which there is this is no wider than a phone.
async fn it_is_no_wider_than_a_phone(browser: &Browser, css: &str, picture: &str) -> Outcome {
    let page = browser.page();
    let (width, height) = page.get_window_size().await?;
    page.set_window_size(PHONE.0, PHONE.1).await?;
    browser.reload().await?;
    browser.see(css).await?;
    let overhang = page.execute(OVERHANG, Vec::new()).await?;
    assert_eq!(overhang, json!(0), "it is wider than a phone");
    browser.picture(picture).await?;
    page.set_window_size(u32::try_from(width)?, u32::try_from(height)?)
        .await?;
    browser.reload().await?;
    browser.see(css).await?;
    Ok(())
}

/// Neither the list nor the form is wider than the screen.
async fn it_fits_a_phone(browser: &Browser) -> Outcome {
    let page = browser.page();
    let before = page.get_window_size().await?;
    page.set_window_size(PHONE.0, PHONE.1).await?;
    // A page that begins so narrow keeps the navigation for when it is asked for.
    browser.reload().await?;
    browser.see("tr[data-name='browser-budget']").await?;
    let overhang = page.execute(OVERHANG, Vec::new()).await?;
    assert_eq!(overhang, json!(0), "the list is wider than a phone");
    browser.picture("budgets-phone").await?;
    browser.act("browser-budget", "Change rule").await?;
    browser.see("dialog[open] input[name='limit-1']").await?;
    let overhang = page.execute(OVERHANG, Vec::new()).await?;
    assert_eq!(overhang, json!(0), "the form is wider than a phone");
    browser.picture("budget-form-phone").await?;
    browser.press("Cancel").await?;
    browser.until_gone("dialog[open]").await?;
    let (width, height) = before;
    page.set_window_size(u32::try_from(width)?, u32::try_from(height)?)
        .await?;
    // As one that begins so wide opens it.
    browser.reload().await?;
    browser.see("tr[data-name='browser-budget']").await?;
    Ok(())
}

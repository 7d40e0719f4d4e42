//! Every screen on a phone: nothing is wider than it is, and the heading says where one is.

use std::collections::BTreeSet;

use serde_json::json;

use crate::Outcome;
use crate::browser::Browser;
use crate::stack::Stack;

/// A phone's screen, in pixels.
const PHONE: (u32, u32) = (390, 844);

/// How wide the window is, how much wider the page is, and which of its parts are: the innermost, by their classes.
const WIDTHS: &str = "const width = window.innerWidth; \
    const sticks_out = (it) => it.getBoundingClientRect().right > width + 1; \
    const all = [...document.querySelectorAll('main *')].filter(sticks_out); \
    const inner = all.filter((it) => ![...it.children].some(sticks_out)).slice(0, 5); \
    return [width, document.documentElement.scrollWidth - width, \
        inner.map((it) => `${it.tagName}.${it.getAttribute('class')}`)];";

/// Where the heading begins and ends, from the left, and whether anything of it is within the window.
const HEADING: &str = "const it = document.querySelector('main h1').getBoundingClientRect(); \
    return it.left >= 0 && it.right <= window.innerWidth && it.top >= 0 && it.bottom <= window.innerHeight && it.height > 0;";

/// The paths of the screens that the navigation leads to.
const PATHS: &str = "return [...document.querySelectorAll('.pf-v6-c-nav a')].map((it) => new URL(it.href).pathname);";

/// The paths of a request, and of one thing's history.
const FURTHER: &str =
    "return [...document.querySelectorAll('main tbody a')].map((it) => new URL(it.href).pathname);";

pub(crate) async fn every_screen_fits_a_phone(browser: &Browser, stack: &Stack) -> Outcome {
    crate::sign_in_as(browser, &stack.operator).await?;
    let paths = all_paths(browser).await?;
    let page = browser.page();
    let (width, height) = page.get_window_size().await?;
    page.set_window_size(PHONE.0, PHONE.1).await?;
    let mut wide = Vec::new();
    for path in &paths {
        let outcome = fits(browser, path).await;
        wide.extend(outcome.map_err(|error| format!("{path}: {error}"))?);
    }
    page.set_window_size(u32::try_from(width)?, u32::try_from(height)?)
        .await?;
    assert_eq!(
        wide,
        Vec::<String>::new(),
        "screens that are wider than a phone"
    );
    Ok(())
}

/// All that the navigation leads to, and what lies below it.
async fn all_paths(browser: &Browser) -> Outcome<BTreeSet<String>> {
    let mut paths: BTreeSet<String> = found(browser, PATHS).await?.into_iter().collect();
    assert!(paths.len() > 20, "{paths:?}");
    paths.insert("/account".to_owned());
    for (screen, row, below) in [
        ("Requests", "tr[data-request]", "/requests/"),
        ("Provider accounts", "tr[data-name='mock']", "/history-of/"),
    ] {
        browser.go(screen).await?;
        browser.see(row).await?;
        let further = found(browser, FURTHER).await?;
        let first = further.into_iter().find(|path| path.starts_with(below));
        paths.insert(first.ok_or_else(|| format!("nothing below {screen}"))?);
    }
    Ok(paths)
}

/// What is wrong with a screen.
async fn fits(browser: &Browser, path: &str) -> Outcome<Option<String>> {
    // A page that begins so narrow keeps the navigation for when it is asked for.
    browser.open(path).await?;
    browser.see("main h1").await?;
    browser.until_gone(".sl-loading").await?;
    browser
        .picture(&format!("phone{}", path.replace('/', "-")))
        .await?;
    let page = browser.page();
    let is_seen = page.execute(HEADING, Vec::new()).await?;
    if is_seen != json!(true) {
        return Ok(Some(format!(
            "{path}: its heading is not within the window"
        )));
    }
    let widths = page.execute(WIDTHS, Vec::new()).await?;
    assert_eq!(widths[0], json!(PHONE.0), "as wide as a phone");
    let fits = widths[1].as_i64().is_some_and(|over| over <= 0);
    Ok((!fits).then(|| format!("{path}: {widths}")))
}

async fn found(browser: &Browser, script: &str) -> Outcome<Vec<String>> {
    let found = browser.page().execute(script, Vec::new()).await?;
    Ok(serde_json::from_value(found)?)
}

//! The same console without a pointer: Tab, arrows, Enter, Escape and typed text reach everything, and what opens gives the
//! focus back to what opened it.

use serde_json::json;

use crate::Outcome;
use crate::browser::Browser;
use crate::keyboard::{DOWN, END, ENTER, ESCAPE, RIGHT, TAB};
use crate::stack::Stack;

/// How many people there are: more than a list of the API shows at once.
const PEOPLE: usize = 260;

/// Who is chosen: none of the first that any list shows, whose newest stand first.
const CHOSEN: &str = "Person 017";

/// Applies a document with the session's own token; answers with the HTTP status.
const APPLY: &str = "const [document, done] = arguments; (async () => { \
    const session = await (await fetch('/api/v1/sessions/current')).json(); \
    const answer = await fetch('/api/v1/apply', { method: 'POST', body: JSON.stringify({ document }), \
        headers: { 'content-type': 'application/json', 'x-csrf-token': session.csrf_token } }); \
    done(answer.ok ? 'done' : await answer.text()); })().catch((error) => done(String(error)));";

/// What is in the text of the chooser that has the focus.
const WRITTEN: &str = "return document.activeElement.value;";

pub(crate) async fn everything_goes_without_a_pointer(browser: &Browser, stack: &Stack) -> Outcome {
    sign_in(browser, stack).await?;
    let people =
        (0..PEOPLE).map(|n| format!("{{name: Person {n:03}, email: person-{n:03}@example.com}}"));
    let people = people.collect::<Vec<_>>().join(", ");
    let document = json!(format!("{{sluice: v1, users: [{people}]}}"));
    let applied = browser.page().execute_async(APPLY, vec![document]).await?;
    assert_eq!(applied, "done", "the people are there");
    access_is_granted(browser).await?;
    a_menu_and_a_dialog_give_the_focus_back(browser).await?;
    a_person_is_renamed(browser).await?;
    settings_are_changed(browser).await?;
    a_request_is_looked_at(browser).await?;
    the_state_as_of_a_moment(browser).await?;
    a_question_is_tried(browser).await?;
    sign_out(browser).await
}

async fn sign_in(browser: &Browser, stack: &Stack) -> Outcome {
    browser.tab_to("input[name='email']").await?;
    browser.type_anew(&stack.operator.email).await?;
    browser.keys([TAB]).await?;
    browser.type_anew(&stack.operator.password).await?;
    browser.keys([ENTER]).await?;
    browser.see(".pf-v6-c-nav").await?;
    Ok(())
}

/// To one of very many people, and to a model, both found by what is typed.
async fn access_is_granted(browser: &Browser) -> Outcome {
    browser.go_by_keyboard("/access", "Access grants").await?;
    browser.tab_to_button("Grant access").await?;
    browser.keys([ENTER]).await?;
    let who = "dialog[open] input[name='subject']";
    browser.until_focused(who).await?;
    browser.keys([DOWN]).await?;
    browser
        .until_text("[role='option'].pf-m-active", "Everyone with a key")
        .await?;
    browser
        .until_text(".sl-choices-note", "There are more")
        .await?;
    browser.picture("chooser").await?;
    // Escape closes the list; the dialog stays, and the focus where it is.
    browser.keys([ESCAPE]).await?;
    browser.until_gone(".sl-choices").await?;
    browser.until_focused(who).await?;
    browser.keys("nobody at all".chars()).await?;
    browser
        .until_text(".sl-choices-note", "Nothing matches")
        .await?;
    // Enter chooses nothing, and does not send the form.
    browser.keys([ENTER]).await?;
    browser.type_anew("person-017@example.com").await?;
    let active = "[role='option'].pf-m-active";
    browser.until_text(active, CHOSEN).await?;
    browser.keys([ENTER]).await?;
    browser.until_gone(".sl-choices").await?;
    assert_eq!(browser.page().execute(WRITTEN, Vec::new()).await?, CHOSEN);

    browser.tab_to("dialog[open] input[name='models']").await?;
    browser.keys("chat".chars()).await?;
    browser.until_text(active, "chat").await?;
    browser.keys([ENTER]).await?;
    let chip = "dialog[open] .sl-chips li";
    browser.until_text(chip, "chat").await?;
    browser.keys([DOWN]).await?;
    browser.see(active).await?;
    browser.keys([ENTER]).await?;
    browser.see(&format!("{chip}:nth-child(2)")).await?;
    // The label of the one that was one too many is taken away; the focus goes to the text.
    browser.tab_to(&format!("{chip}:last-child button")).await?;
    browser.keys([ENTER]).await?;
    browser.until_gone(&format!("{chip}:nth-child(2)")).await?;
    browser
        .until_focused("dialog[open] input[name='models']")
        .await?;
    browser.picture("grant-form").await?;
    browser.keys([ENTER]).await?;
    browser.until_gone("dialog[open]").await?;
    browser.until_focused("main button.pf-m-primary").await?;
    browser.see(&format!("tr[data-name='{CHOSEN}']")).await?;
    Ok(())
}

async fn a_menu_and_a_dialog_give_the_focus_back(browser: &Browser) -> Outcome {
    let menu = format!("button[aria-label='Actions for {CHOSEN}']");
    let item = |nth: usize| format!("li:nth-child({nth}) > [role='menuitem']");
    browser.tab_to(&menu).await?;
    browser.keys([ENTER]).await?;
    browser.until_focused(&item(1)).await?;
    browser.keys([DOWN]).await?;
    browser.until_focused(&item(2)).await?;
    browser.keys([ESCAPE]).await?;
    browser.until_focused(&menu).await?;
    browser.keys([ENTER]).await?;
    browser.until_focused(&item(1)).await?;
    browser.keys([ENTER]).await?;
    // What the grant opens already stands there by its name.
    browser.until_text("dialog[open] .sl-chips", "chat").await?;
    browser.keys([ESCAPE]).await?;
    browser.until_gone("dialog[open]").await?;
    browser.until_focused(&menu).await?;

    browser.keys([ENTER]).await?;
    browser.until_focused(&item(1)).await?;
    browser.keys([END]).await?;
    browser.until_focused(&item(2)).await?;
    browser.keys([ENTER]).await?;
    browser
        .until_focused("dialog[open] input[name='why']")
        .await?;
    browser.keys("by keyboard".chars().chain([ENTER])).await?;
    browser
        .until_gone(&format!("tr[data-name='{CHOSEN}']"))
        .await
}

async fn a_person_is_renamed(browser: &Browser) -> Outcome {
    browser.go_by_keyboard("/users", "Users").await?;
    browser.tab_to("main input[name='search']").await?;
    // By the address, which stays.
    browser.keys("person-017@".chars()).await?;
    browser.until_gone("tr[data-name='Person 259']").await?;
    for (now, new) in [(CHOSEN, "Somebody else"), ("Somebody else", CHOSEN)] {
        let menu = format!("button[aria-label='Actions for {now}']");
        browser.tab_to(&menu).await?;
        browser.keys([ENTER]).await?;
        browser.until_focused("[role='menuitem']").await?;
        browser.keys([ENTER]).await?;
        browser
            .until_focused("dialog[open] input[name='name']")
            .await?;
        browser.type_anew(new).await?;
        browser.picture("rename").await?;
        browser.keys([ENTER]).await?;
        browser.until_gone("dialog[open]").await?;
        browser.see(&format!("tr[data-name='{new}']")).await?;
        browser
            .until_focused(&format!("button[aria-label='Actions for {new}']"))
            .await?;
    }
    Ok(())
}

async fn settings_are_changed(browser: &Browser) -> Outcome {
    browser.go_by_keyboard("/settings", "Settings").await?;
    let fact = "[data-fact='Unused, a session ends after']";
    for (minutes, shown) in [("600", "600 minutes"), ("720", "720 minutes")] {
        browser.tab_to_button("Change sessions").await?;
        browser.keys([ENTER]).await?;
        browser
            .until_focused("dialog[open] input[name='idle_minutes']")
            .await?;
        browser.type_anew(minutes).await?;
        browser.picture("settings-form").await?;
        browser.keys([ENTER]).await?;
        browser.until_gone("dialog[open]").await?;
        browser.until_text(fact, shown).await?;
        browser.until_focused("main button").await?;
    }
    Ok(())
}

async fn a_request_is_looked_at(browser: &Browser) -> Outcome {
    browser.go_by_keyboard("/requests", "Requests").await?;
    browser.tab_to("tr[data-request] a").await?;
    browser.keys([ENTER]).await?;
    browser.until_text("h1", "Request for").await?;
    browser.see("[data-part='decision']").await?;
    browser.back().await?;
    browser.until_text("h1", "Requests").await?;
    browser.see("tr[data-request]").await?;
    Ok(())
}

/// A moment before the log began, typed part by part: none of the years on the way to it is asked for.
async fn the_state_as_of_a_moment(browser: &Browser) -> Outcome {
    browser.go_by_keyboard("/state", "State").await?;
    browser.tab_to("input[name='at']").await?;
    browser.keys("01012020".chars().chain([RIGHT])).await?;
    browser.keys("1200A".chars()).await?;
    browser.until_address_without("at=").await?;
    browser.keys([ENTER]).await?;
    browser.until_address("at=2020-01-01T").await?;
    browser.until_text("[data-part='position']", "#0").await?;
    browser.tab_to_button("Now").await?;
    browser.keys([ENTER]).await?;
    browser.until_address_without("at=").await?;
    browser
        .until_text("dl.sl-facts .pf-v6-c-label", "Now")
        .await
}

async fn a_question_is_tried(browser: &Browser) -> Outcome {
    browser
        .go_by_keyboard("/api-reference", "API reference")
        .await?;
    browser.tab_to("main input[name='search']").await?;
    browser.keys("list requests".chars()).await?;
    browser.until_gone("[data-tag='commands']").await?;
    let operation = "[data-operation='list_requests']";
    browser.tab_to(&format!("{operation} button")).await?;
    browser.keys([ENTER]).await?;
    for (name, value) in [
        ("from", "2026-01-01T00:00:00Z"),
        ("to", "2026-06-01T00:00:00Z"),
    ] {
        browser
            .tab_to(&format!("{operation} input[name='{name}']"))
            .await?;
        browser.keys(value.chars()).await?;
    }
    browser.tab_to_button("Try it").await?;
    browser.keys([ENTER]).await?;
    browser
        .until_text(&format!("{operation} .sl-try-answer"), "HTTP 200")
        .await
}

async fn sign_out(browser: &Browser) -> Outcome {
    browser.tab_to("button[aria-label='Your account']").await?;
    browser.keys([ENTER]).await?;
    browser.until_focused("[role='menuitem']").await?;
    browser.keys([END, ENTER]).await?;
    browser.see("input[name='password']").await?;
    Ok(())
}

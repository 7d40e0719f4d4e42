//! Who may change nothing is offered nothing to change, and is refused when it is forced: as auditor and as viewer.
//!
//! Each begins as an owner, who is offered everything, with a dialog open; then the role is another one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::Outcome;
use crate::browser::Browser;
use crate::stack::{Operator, Stack};

/// What begins so changes something.
const CHANGES: [&str; 24] = [
    "Add", "Allow", "Apply", "Change", "Create", "Delete", "Disable", "Enable", "Erase", "Forbid",
    "Grant", "Issue", "Move", "Remove", "Rename", "Replace", "Revoke", "Rotate", "Save", "Send",
    "Set", "Shred", "Start", "Switch",
];

/// Gives a command with the session of the page; answers with the status and what is said of it.
const COMMAND: &str = "const [command, done] = arguments; (async () => { \
    const session = await (await fetch('/api/v1/sessions/current')).json(); \
    const answer = await fetch('/api/v1/commands', { method: 'POST', body: JSON.stringify({ command }), \
        headers: { 'content-type': 'application/json', 'x-csrf-token': session.csrf_token } }); \
    done([answer.status, await answer.json()]); })().catch((error) => done([0, String(error)]));";

/// The screens that the navigation leads to.
const SCREENS: &str =
    "return [...document.querySelectorAll('.pf-v6-c-nav a')].map(it => it.textContent.trim());";

/// What can be pressed on the screen.
const BUTTONS: &str =
    "return [...document.querySelectorAll('main button')].map(it => it.textContent.trim());";

/// The menu of the first row that has one.
const MENU: &str = "main button[aria-label^='Actions for']";

/// Somebody who may change nothing.
struct Reader {
    role: &'static str,
    /// What this role may not even see, with the addresses: of what the navigation leads to.
    unseen: &'static [(&'static str, &'static str)],
}

const READERS: [Reader; 2] = [
    Reader {
        role: "auditor",
        unseen: &[],
    },
    Reader {
        role: "viewer",
        unseen: &[
            ("History", "history"),
            ("State", "state"),
            ("Configuration file", "configuration"),
            ("Operators", "operators"),
        ],
    },
];

/// Talking to models costs money: who changes nothing does not.
const PLAYGROUND: &str = "Playground";

/// Both in turn.
pub(crate) async fn who_may_change_nothing_is_offered_nothing_and_refused(
    browser: &Browser,
    stack: &Stack,
) -> Outcome {
    for reader in &READERS {
        let operator = Operator {
            email: format!("browser-{}@example.com", reader.role),
            password: "a password of the browser test".to_owned(),
        };
        crate::sign_in_as(browser, &stack.operator).await?;
        let id = added(browser, &operator).await?;
        crate::sign_out(browser).await?;
        crate::sign_in_as(browser, &operator).await?;
        let outcome = becomes(browser, reader, &id).await;
        outcome.map_err(|error| format!("as {}: {error}", reader.role))?;
        crate::sign_out(browser).await?;
        crate::sign_in_as(browser, &stack.operator).await?;
        given(
            browser,
            json!({ "type": "remove_operator", "operator": id }),
        )
        .await?;
        crate::sign_out(browser).await?;
    }
    Ok(())
}

/// An owner becomes a reader in the middle of something.
async fn becomes(browser: &Browser, reader: &Reader, id: &str) -> Outcome {
    let as_owner = offered(browser).await?;
    browser.go("Teams").await?;
    browser.press("Create team").await?;
    browser.fill("name", "not-to-be").await?;
    let command = json!({ "type": "change_operator_role", "operator": id, "role": reader.role });
    given(browser, command).await?;
    browser.submit().await?;
    browser
        .until_text(
            "dialog[open] .pf-v6-c-alert.pf-m-danger",
            NOT_THE_CONFIGURATION,
        )
        .await?;
    browser
        .picture(&format!("refused-as-{}", reader.role))
        .await?;
    browser.press("Cancel").await?;
    browser.until_gone("dialog[open]").await?;
    browser.reload().await?;
    browser.see(".pf-v6-c-nav").await?;

    let as_reader = offered(browser).await?;
    nothing_is_offered(reader, &as_owner, &as_reader);
    unseen_screens_say_so(browser, reader).await?;
    for command in forbidden() {
        let (status, said) = asked(browser, command.clone()).await?;
        assert_eq!(status, 403, "{command} is refused: {said}");
        assert_eq!(said["detail"], NOT_THE_CONFIGURATION, "{command}");
    }
    browser.go("Teams").await?;
    browser.until_gone("tr[data-name='not-to-be']").await
}

/// What the control plane says to who may change nothing.
const NOT_THE_CONFIGURATION: &str = "Only owners and operators may change the configuration.";

/// Some of everything: of the configuration, operators and settings.
fn forbidden() -> [Value; 4] {
    [
        json!({ "type": "create_team", "name": "not-to-be" }),
        json!({ "type": "add_user", "name": "Not To Be", "email": "not-to-be@example.com" }),
        json!({
            "type": "add_operator", "role": "owner", "email": "not-to-be@example.com", "name": "Not To Be",
            "password": "a password of the browser test",
        }),
        json!({ "type": "rename_organisation", "name": "Not to be" }),
    ]
}

/// Of each screen, by its title, what it offers to change.
async fn offered(browser: &Browser) -> Outcome<BTreeMap<String, BTreeSet<String>>> {
    let screens = texts(browser, SCREENS).await?;
    let mut offered = BTreeMap::new();
    for screen in screens {
        browser.go(&screen).await?;
        browser.until_gone(".sl-loading").await?;
        let mut all = texts(browser, BUTTONS).await?;
        if let Some(menu) = browser.there_is(MENU).await? {
            menu.click().await?;
            browser.see("main [role='menuitem']").await?;
            all.extend(texts(browser, BUTTONS).await?);
            menu.click().await?;
            browser.until_gone("main [role='menuitem']").await?;
        }
        all.retain(|text| changes(text));
        offered.insert(screen, all.into_iter().collect());
    }
    Ok(offered)
}

fn changes(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    CHANGES.contains(&first)
}

fn nothing_is_offered(
    reader: &Reader,
    as_owner: &BTreeMap<String, BTreeSet<String>>,
    as_reader: &BTreeMap<String, BTreeSet<String>>,
) {
    let unseen: BTreeSet<&str> = reader.unseen.iter().map(|(title, _)| *title).collect();
    let expected = as_owner.keys().map(String::as_str);
    let expected: Vec<&str> = expected
        .filter(|it| *it != PLAYGROUND && !unseen.contains(it))
        .collect();
    let seen: Vec<&str> = as_reader.keys().map(String::as_str).collect();
    assert_eq!(seen, expected, "what the navigation leads to");
    for (screen, offers) in as_reader {
        assert!(offers.is_empty(), "{screen} offers {offers:?}");
    }
    // Else the words above would be the wrong ones.
    for screen in [
        "Provider accounts",
        "Models",
        "Teams",
        "API keys",
        "Operators",
        "Settings",
    ] {
        assert!(
            !as_owner[screen].is_empty(),
            "{screen} offers an owner nothing"
        );
    }
}

/// Who types the address is told, and what the navigation does not lead to loads nothing.
async fn unseen_screens_say_so(browser: &Browser, reader: &Reader) -> Outcome {
    for (title, path) in reader.unseen {
        browser.open(path).await?;
        browser
            .until_text("[data-state='forbidden']", "You may not see this")
            .await
            .map_err(|error| format!("{title}: {error}"))?;
    }
    browser.open("").await?;
    browser.until_text("h1", "Dashboard").await
}

async fn texts(browser: &Browser, script: &str) -> Outcome<Vec<String>> {
    let texts = browser.page().execute(script, Vec::new()).await?;
    Ok(serde_json::from_value(texts)?)
}

/// The status and what is said of a command.
async fn asked(browser: &Browser, command: Value) -> Outcome<(u64, Value)> {
    let told = browser.page().execute_async(COMMAND, vec![command]).await?;
    Ok(serde_json::from_value(told)?)
}

/// The command is taken.
async fn given(browser: &Browser, command: Value) -> Outcome<Value> {
    let (status, said) = asked(browser, command).await?;
    if (200..300).contains(&status) {
        Ok(said)
    } else {
        Err(format!("{status}: {said}").into())
    }
}

/// Another owner; the id.
async fn added(browser: &Browser, operator: &Operator) -> Outcome<String> {
    let Operator { email, password } = operator;
    let command = json!({
        "type": "add_operator", "role": "owner",
        "email": email, "name": "Browser Test", "password": password,
    });
    let said = given(browser, command).await?;
    let id = said["id"].as_str().ok_or("an operator was added")?;
    Ok(id.to_owned())
}

//! `apply` and `export`: the configuration as one YAML document, of a stack on this machine or of any deployment.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use events_schema::address::Address;
use events_schema::api::declared::{Action, ApplyAnswer, ApplyRequest, Change};
use http::Method;

use crate::api::{Api, Refusal, SignedIn};
use crate::failure::{Doing, Failure, Outcome};
use crate::running::Running;
use crate::stack::{DataDir, secrets};

/// Which deployment.
#[derive(clap::Args)]
pub(crate) struct Deployment {
    /// The data folder of a stack that runs on this machine.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The console's URL of any other deployment; then a token is needed.
    #[arg(long, requires = "token")]
    console: Option<String>,
    /// An operator's token.
    #[arg(long, env = "SLUICE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificate authorities to trust beside the system's, PEM: for a console at https://.
    #[arg(long, env = "SLUICE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// The flags of `apply`.
#[derive(clap::Args)]
pub(crate) struct ApplyArgs {
    /// The document; `-`: standard input. `${env:NAME}` in it stands for the variable's value.
    #[arg(short, long)]
    file: PathBuf,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Delete what the document's sections do not name.
    #[arg(long)]
    prune: bool,
    /// Why, for the history.
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    deployment: Deployment,
}

/// The formats of other gateways that are written.
const FORMATS: [&str; 2] = ["gateway-rate-limiting-config", "gateway-budget-config"];

/// The flags of `export`.
#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    /// Include keys' hashes, so that the keys work elsewhere under the same pepper.
    #[arg(long)]
    key_hashes: bool,
    /// A format that other gateways have, with what it is for; else Sluice's own, with everything. What it has no words for is
    /// told in comments at the top.
    #[arg(long, value_parser = FORMATS)]
    format: Option<String>,
    #[command(flatten)]
    deployment: Deployment,
}

/// Shows the difference, and makes it.
pub(crate) fn apply(args: &ApplyArgs) -> Outcome {
    let document = substituted(&read(&args.file)?, &args.file)?;
    on_runtime(async {
        let api = connect(&args.deployment).await?;
        let done = apply_over(&api, args, &document).await;
        api.sign_out().await?;
        done
    })
}

/// Prints the document.
pub(crate) fn export(args: &ExportArgs) -> Outcome {
    on_runtime(async {
        let api = connect(&args.deployment).await?;
        let mut path = format!("/export?key_hashes={}", args.key_hashes);
        if let Some(format) = &args.format {
            write!(path, "&format={format}").expect("text takes text");
        }
        let document = api.text(&path).await;
        api.sign_out().await?;
        let document = document?;
        print!("{document}");
        if !std::io::stdout().is_terminal() {
            eprint!("{}", head(&document));
        }
        Ok(())
    })
}

/// The comments at the top of a document: what it lacks.
fn head(document: &str) -> String {
    let lines = document.split_inclusive('\n');
    let comments = lines.map_while(|line| line.strip_prefix("# "));
    comments.collect()
}

fn on_runtime(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting this tool's runtime".into())?;
    runtime.block_on(work)
}

async fn connect(deployment: &Deployment) -> Outcome<Api> {
    if let (Some(console), Some(token)) = (&deployment.console, &deployment.token) {
        warn_of_plain_text(console)?;
        let console = console.trim_end_matches('/');
        return Api::with_token(console, token, deployment.ca_file.clone());
    }
    let stack = Running::find(DataDir::locate(deployment.data.as_deref())?)?;
    let operator = secrets::operator(&stack.data)?;
    let console = stack.ways.console(stack.ports.console());
    match Api::sign_in(&console, stack.ways.ca_file(), &operator).await? {
        SignedIn::Yes(api) => Ok(api),
        SignedIn::Refused => Err(Failure::new(
            "the first owner cannot sign in any more: give --console and --token",
        )),
    }
}

/// A token may be used by whoever reads it.
fn warn_of_plain_text(console: &str) -> Outcome {
    let address: Address = console.parse().doing(|| "reading --console".into())?;
    if address.is_readable_on_the_way() {
        eprintln!(
            "sluice: the token can be read on the way to {address}: use https:// (with --ca-file, where the \
             authority is your own)"
        );
    }
    Ok(())
}

async fn apply_over(api: &Api, args: &ApplyArgs, document: &str) -> Outcome {
    let mut request = ApplyRequest {
        command_id: None,
        why: args.why.clone(),
        document: document.to_owned(),
        dry_run: true,
        prune: args.prune,
        position: None,
    };
    let difference = send(api, &request, &args.file).await?;
    print!("{}", told(&difference.changes));
    for warning in &difference.warnings {
        println!("Warning: {warning}");
    }
    if args.dry_run || difference.changes.is_empty() {
        return Ok(());
    }
    (request.dry_run, request.position) = (false, Some(difference.position));
    let done = send(api, &request, &args.file).await?;
    println!(
        "Done: {} events, up to position {}.",
        done.events.len(),
        done.position
    );
    for made in done.secrets {
        println!("  {} {}: {}", made.what, made.name, made.secret);
    }
    Ok(())
}

/// One call. What is wrong with the document is printed by file and line, as compilers do.
async fn send(api: &Api, request: &ApplyRequest, file: &Path) -> Outcome<ApplyAnswer> {
    match api.ask(Method::POST, "/apply", request).await? {
        Ok(answer) => Ok(answer),
        Err(Refusal::Problem(problem)) if !problem.faults.is_empty() => {
            for fault in &problem.faults {
                let field = fault.field.as_deref().map(|field| format!(" ({field})"));
                eprintln!(
                    "{}:{}:{}: {}{}",
                    file.display(),
                    fault.line,
                    fault.column,
                    fault.message,
                    field.unwrap_or_default()
                );
            }
            Err(Failure::told())
        }
        Err(refusal) => Err(refusal.into_failure()),
    }
}

fn read(file: &Path) -> Outcome<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .doing(|| "reading standard input".into())?;
        return Ok(text);
    }
    std::fs::read_to_string(file).doing(|| format!("reading {}", file.display()))
}

/// Puts variables of the environment in the place of `${env:NAME}`, as quoted YAML.
fn substituted(text: &str, file: &Path) -> Outcome<String> {
    const OPEN: &str = "${env:";
    let mut whole = String::with_capacity(text.len());
    for (line, text) in (1..).zip(text.split_inclusive('\n')) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, after)) = after.split_once('}') else {
                break;
            };
            let value = std::env::vars_os()
                .find(|(key, _)| key == name)
                .and_then(|(_, value)| value.into_string().ok())
                .ok_or_else(|| {
                    let file = file.display();
                    Failure::new(format!("{file}:{line}: the variable {name} is not set"))
                })?;
            whole.push_str(before);
            whole.push_str(&serde_json::Value::from(value).to_string());
            rest = after;
        }
        whole.push_str(rest);
    }
    Ok(whole)
}

/// The difference as a person reads it.
fn told(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let sign = match change.action {
            Action::Create => '+',
            Action::Change => '~',
            Action::Delete => '-',
        };
        writeln!(text, "{sign} {} {}", change.what, change.name).expect("text takes text");
        let width = change.fields.iter().map(|it| it.field.len()).max();
        for field in &change.fields {
            let value = match (&field.before, &field.after) {
                (Some(before), Some(after)) => format!("{before} → {after}"),
                (None, Some(after)) => after.clone(),
                (Some(before), None) => format!("{before} → (gone)"),
                (None, None) => String::new(),
            };
            let width = width.unwrap_or(0);
            writeln!(text, "    {:width$}  {value}", field.field).expect("text takes text");
        }
    }
    let count = |action| changes.iter().filter(|it| it.action == action).count();
    if changes.is_empty() {
        text.push_str("Nothing to change.\n");
    } else {
        let (made, changed, deleted) = (
            count(Action::Create),
            count(Action::Change),
            count(Action::Delete),
        );
        writeln!(
            text,
            "\n{made} to make, {changed} to change, {deleted} to delete."
        )
        .expect("text takes text");
    }
    text
}

#[cfg(test)]
mod tests {
    use events_schema::api::declared::FieldChange;

    use super::*;

    #[test]
    fn a_difference_reads_like_one() {
        let field = |field: &str, before: Option<&str>, after: Option<&str>| FieldChange {
            field: field.into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        };
        let change = |action, what: &str, name: &str, fields| Change {
            action,
            what: what.into(),
            name: name.into(),
            fields,
        };
        let changes = [
            change(
                Action::Create,
                "model",
                "mock/new",
                vec![
                    field("types", None, Some("chat")),
                    field("upstream_name", None, Some("new")),
                ],
            ),
            change(
                Action::Change,
                "key",
                "ci: laptop",
                vec![field("limits", Some("none"), Some("5 requests a minute"))],
            ),
            change(Action::Delete, "user", "ada@example.com", vec![]),
        ];
        let expected = "+ model mock/new
    types          chat
    upstream_name  new
~ key ci: laptop
    limits  none → 5 requests a minute
- user ada@example.com

1 to make, 1 to change, 1 to delete.
";
        assert_eq!(told(&changes), expected);
        assert_eq!(told(&[]), "Nothing to change.\n");
    }

    #[test]
    fn what_a_document_lacks_is_its_comments_at_the_top() {
        let document = "# Not in it:\n# - 'x': it is switched off\nname: a\n# b\n";
        assert_eq!(head(document), "Not in it:\n- 'x': it is switched off\n");
        assert_eq!(head("name: a\n# b\n"), "");
    }

    #[test]
    fn variables_stand_in_the_document_as_quoted_text() {
        let file = Path::new("x.yaml");
        let text = substituted("a: ${env:PATH}\nb: ${other}\n", file).expect("PATH is set");
        let first = text.lines().next().expect("a line");
        assert!(
            first.starts_with("a: \"/") && first.ends_with('"'),
            "{first}"
        );
        assert!(text.ends_with("b: ${other}\n"));
        let missing = substituted("a: 1\nb: ${env:SLUICE_NO_SUCH_VARIABLE}\n", file);
        let said = missing.expect_err("it is not set").to_string();
        assert!(said.starts_with("x.yaml:2: "), "{said}");
    }
}

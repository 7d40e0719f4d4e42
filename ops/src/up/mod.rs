//! `up`: from a bare machine, or from any earlier state, to a stack that answers.
//!
//! Each step finds out what is already there and does only the rest, so that a second `up` takes
//! seconds. What a person must know goes to stderr; stdout has nothing but the line of JSON that
//! `--detach` ends with.

mod launch;
mod summary;

use std::path::{Path, PathBuf};

use crate::console;
use crate::down;
use crate::failure::{Doing, Failure, Outcome};
use crate::parts::{Cache, Part};
use crate::paths;
use crate::progress::Progress;
use crate::seed;
use crate::stack::binaries::{self, Binaries};
use crate::stack::links::Links;
use crate::stack::ports::{DEFAULT_BASE, Ports};
use crate::stack::services::Ingredients;
use crate::stack::ways::Ways;
use crate::stack::{DataDir, postgres, secrets, tls};
use crate::supervise::plan::Plan;
use crate::supervise::state::StackState;

/// The subcommand's flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Return when the stack is ready, with one line of JSON on standard output.
    #[arg(long)]
    detach: bool,
    /// The stack's data folder: /var/lib/sluice for root, else ~/.local/share/sluice.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The console's port; the others are counted from it. 0 takes any free block. 7700, or what the
    /// data folder was last used with, when it is not said.
    #[arg(long, value_name = "N")]
    port_base: Option<u16>,
    /// Build optimised programs.
    #[arg(long)]
    release: bool,
    /// Take the programs that lie beside this one, and the console, as they were last built.
    #[arg(long)]
    no_build: bool,
    /// Do without the console's pages (the API is there all the same).
    #[arg(long)]
    no_console: bool,
    /// Start a second gateway.
    #[arg(long)]
    second_gateway: bool,
    /// Start a second control plane, `commands` and `projections`, beside the first.
    #[arg(long)]
    second_control: bool,
    /// Let the stack's parts talk over TLS, and serve the console so, with an authority of the stack's own (DATA/tls).
    #[arg(long, conflicts_with = "proxies_from")]
    tls: bool,
    /// Stop the stack when this process has ended (for tests, which may be killed).
    #[arg(long, value_name = "PID", hide = true)]
    bound_to: Option<u32>,
    /// Let the processes reach one another through proxies on the ports from this one on.
    #[arg(long, value_name = "PORT", hide = true)]
    proxies_from: Option<u16>,
}

/// Brings a stack up.
pub(crate) fn run(args: &Args) -> Outcome {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failure::new("only Linux on x86-64 is supported for now"));
    }
    let data = DataDir::locate(args.data.as_deref())?;
    let cache = Cache::open()?;
    let progress = Progress::on_stderr();
    let parts = [
        Part::NatsServer,
        postgres::part(&data, args.tls)?,
        Part::Engine,
    ];
    let missing = cache.missing_tools(&parts)?;
    if !missing.is_empty() {
        return Err(Failure::new(missing.join("; ")));
    }

    data.create()?;
    let alone = data.lock()?;
    let running = running(&data)?;
    let ports = choose_ports(args, &data, running.as_ref())?;

    let parts = cache.parts(&parts, &progress)?;
    let parts = <[PathBuf; 3]>::try_from(parts).map_err(|_| Failure::new("a part is missing"))?;
    let ways = Ways::of(&data, args.tls);
    let place = Place {
        cache: &cache,
        data: &data,
        ports,
        ways: &ways,
    };
    let plan = prepare(args, &place, parts, running.as_ref(), &progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting this tool's runtime".into())?;

    let mine = if running.is_some_and(|state| state.stamp == plan.stamp) {
        None
    } else {
        Some(launch::start_supervisor(&data, &plan, args.bound_to)?)
    };
    let up = launch::wait_until_ready(&data, &plan, &progress)
        .and_then(|()| runtime.block_on(seed::seed(&data, ports, &ways, &progress)));
    let example = match up {
        Ok(example) => example,
        Err(failure) => {
            // What does not come up is not left half-way, but one that ran before is let alone.
            if mine.is_some() {
                down::stop(&data)?;
            }
            return Err(failure);
        }
    };
    drop(alone);
    summary::print(&data, ports, &ways, &example)?;
    if args.detach {
        if let Some(supervisor) = mine {
            supervisor.let_it_stay()?;
        }
        println!("{}", summary::line(&data, ports, &ways, &example)?);
        return Ok(());
    }
    match mine {
        Some(supervisor) => runtime.block_on(launch::until_interrupted(&data, supervisor)),
        None => {
            eprintln!("It was running already: `cargo ops down` stops it.");
            Ok(())
        }
    }
}

/// The stack on this data folder, when it runs. What a killed supervisor left over is stopped.
fn running(data: &DataDir) -> Outcome<Option<StackState>> {
    match StackState::read(&data.state_file())? {
        Some(state) if state.supervisor.is_running() => Ok(Some(state)),
        Some(_) => {
            let stopped = down::stop(data)?;
            if !stopped.is_empty() {
                eprintln!(
                    "Stopped what a killed supervisor had left: {}.",
                    stopped.join(", ")
                );
            }
            Ok(None)
        }
        None => Ok(None),
    }
}

fn choose_ports(args: &Args, data: &DataDir, running: Option<&StackState>) -> Outcome<Ports> {
    let remembered = data.root().join("port-base");
    let before = match running {
        Some(state) => Some(state.port_base),
        None => std::fs::read_to_string(&remembered)
            .ok()
            .and_then(|text| text.trim().parse().ok()),
    };
    let ports = match (args.port_base, before) {
        (Some(0), Some(base)) | (None, Some(base)) => Ports::from_base(base)?,
        (Some(0), None) => Ports::free(u16::from_le_bytes(secrets::random()?))?,
        (Some(base), _) => Ports::from_base(base)?,
        (None, None) => Ports::from_base(DEFAULT_BASE)?,
    };
    if running.is_none_or(|state| state.port_base != ports.base()) {
        ports.must_be_free()?;
    }
    std::fs::write(&remembered, format!("{}\n", ports.base()))
        .doing(|| format!("writing {}", remembered.display()))?;
    Ok(ports)
}

/// Where a stack is brought up.
struct Place<'a> {
    cache: &'a Cache,
    data: &'a DataDir,
    ports: Ports,
    ways: &'a Ways,
}

/// Everything up to the plan: programs, console, secrets, the database. A running stack that the plan differs from is
/// stopped.
fn prepare(
    args: &Args,
    place: &Place<'_>,
    [nats_server, postgres_bin, engine]: [PathBuf; 3],
    running: Option<&StackState>,
    progress: &Progress,
) -> Outcome<Plan> {
    let Place {
        cache,
        data,
        ports,
        ways,
    } = *place;
    let built = build(args, progress)?;
    let assets = assets(args, cache, &built, progress)?;
    let passwords = secrets::postgres_passwords(data)?;
    secrets::create_missing(data)?;
    if args.tls {
        tls::create_missing(data)?;
    }
    if args.second_gateway {
        data.create_second_gateway()?;
    }
    if !data.postgres().exists() {
        let step = progress.step("database");
        postgres::initialise(data, &postgres_bin, &passwords)?;
        step.done();
    }
    let binaries = Binaries::of(cache, data);
    let ingredients = Ingredients {
        data,
        ports,
        binaries: &binaries,
        build: binaries::stamp(&built)?,
        nats_server,
        postgres_bin,
        engine,
        assets,
        passwords,
        nats_passwords: secrets::nats_passwords(data)?,
        clickhouse_passwords: secrets::clickhouse_passwords(data)?,
        ways: ways.clone(),
        links: Links::new(ports, args.proxies_from),
        second_gateway: args.second_gateway,
        second_control: args.second_control,
    };
    let plan = ingredients.plan()?;
    if let Some(state) = running
        && state.stamp != plan.stamp
    {
        eprintln!("What runs differs from what was built: it is started again.");
        down::stop(data)?;
    }
    if running.is_none_or(|state| state.stamp != plan.stamp) {
        binaries.take_over(&built)?;
    }
    Ok(plan)
}

/// The folder with the programs.
fn build(args: &Args, progress: &Progress) -> Outcome<PathBuf> {
    if args.no_build {
        let own = std::env::current_exe().doing(|| "finding this program".into())?;
        let beside = own.parent().map(Path::to_path_buf);
        return beside.ok_or_else(|| Failure::new("this program lies in no folder"));
    }
    progress.suspended(|| binaries::build(args.release))?;
    let profile = if args.release { "release" } else { "debug" };
    Ok(binaries::target_folder()?.join(profile))
}

/// The folder with the console's pages, beside the programs' own.
fn assets(
    args: &Args,
    cache: &Cache,
    built: &Path,
    progress: &Progress,
) -> Outcome<Option<PathBuf>> {
    let folder = built.with_file_name("console");
    if args.no_console || (args.no_build && !folder.exists()) {
        return Ok(None);
    }
    if !args.no_build {
        let step = progress.step("console");
        console::build_console(&paths::checkout()?, cache.root(), &folder, &|text| {
            step.doing(text)
        })?;
        step.done();
    }
    Ok(Some(folder))
}

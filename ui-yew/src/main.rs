#![doc = include_str!("../README.md")]

mod api;
mod app;
mod browser;
mod command;
mod format;
mod organisation;
mod query;
mod range;
mod remote;
mod route;
mod screens;
mod session;
mod shell;
mod theme;
mod widgets;

fn main() {
    app::start();
}

//! The HTTP API as callers see it, on a real Postgres.

mod alerts;
mod brought;
mod budgets;
mod commands;
mod declared;
mod erasure;
mod history;
mod openapi;
mod problems;
mod program;
mod reading;
mod repricing;
mod roles;
mod schema;
mod searching;
mod sessions;
mod settings;

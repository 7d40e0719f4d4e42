//! The business rules as data, and over arbitrary sequences of commands.

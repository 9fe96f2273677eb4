//! The `foundry` command.

fn main() {}

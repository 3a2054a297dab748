//! `vigie-agent`.

fn main() {}

//! `vigie`, the operators' command line.

fn main() {}

//! `vigie-collector`.

fn main() {}

//! What the benches share: figures beside their limits, the use of a process, schools with agents,
//! and an agent's side of the line.

pub mod centre;
pub mod devices;
pub mod figures;
pub mod school;
pub mod stream;
pub mod usage;

/// The words of the command line behind a name such as `--schools`, as a number.
pub fn option(name: &str) -> anyhow::Result<Option<u32>> {
    let mut words = std::env::args().skip_while(|word| word != name);
    if words.next().is_none() {
        return Ok(None);
    }
    let number = words.next().and_then(|word| word.parse().ok());
    number.map(Some).ok_or_else(|| anyhow::anyhow!("{name} needs a number"))
}

/// Whether a word such as `--quick` stands on the command line.
#[must_use]
pub fn flag(name: &str) -> bool {
    std::env::args().skip(1).any(|word| word == name)
}

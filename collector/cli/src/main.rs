//! `vigie`, the operators' command line.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use vigie::Environment;

fn main() -> ExitCode {
    let environment = Environment {
        variables: std::env::vars_os().collect(),
        terminal: io::stdout().is_terminal(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Nothing is left to do when even this can not be written.
            let _ = writeln!(io::stderr(), "vigie: cannot start: {error}");
            return ExitCode::from(vigie::COULD_NOT_ANSWER);
        }
    };
    let run = vigie::run(std::env::args_os(), &environment, io::stdout(), io::stderr());
    ExitCode::from(runtime.block_on(run))
}

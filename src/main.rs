//! `hapair`: runs one command and maps its result to an exit code.

fn main() -> std::process::ExitCode {
    hapair::cli::main()
}

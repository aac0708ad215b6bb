//! `hapair-agent`: the host side of hapair. Runs one command and maps its result to an exit code.

fn main() -> std::process::ExitCode {
    hapair::host::main()
}

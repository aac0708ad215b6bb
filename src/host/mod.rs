//! On the target: facts, observe, diff, converge, journal, revert, fault injection.

/// Entry point of the `hapair-agent` binary.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}

//! How a command runs: on one thread, in the lab on a thread inside the network of the twins.

use super::error::Failure;
use super::exit::Exit;
use crate::lab::Lab;

/// One thread drives everything; each host's SSH session has a thread of its own.
pub(crate) fn block_on(command: impl AsyncFnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command());
    // A blocking name lookup must not hold the process back.
    runtime.shutdown_background();
    result
}

/// Runs a command on a thread that lives in the controller's network namespace of the twins. Every thread and socket
/// it makes lives there too.
pub(crate) fn in_lab(lab: &Lab, command: impl AsyncFnOnce() -> Result<Exit, Failure> + Send) -> Result<Exit, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("lab".to_owned())
            .spawn_scoped(scope, || {
                lab.enter()?;
                block_on(command)
            })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

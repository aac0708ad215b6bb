//! Changes that can cut the connection: the revert timer before, the wait for a confirm after.

use std::time::{Duration, Instant};

use crate::host::observe::facts::net;
use crate::host::os::error::{Error, Result};
use crate::host::record::revert_timer;
use crate::host::record::txn::check_cancel;
use crate::host::resource::kinds;
use crate::host::resource::worker::Worker;
use crate::state::EventKind;

pub(crate) fn vips(worker: &Worker<'_>) -> Vec<String> {
    worker
        .request
        .state
        .instances
        .iter()
        .flat_map(|i| i.vips.iter().cloned())
        .collect()
}

/// Arms the revert timer, before something that could cut us off is touched.
pub(crate) fn arm_timer(worker: &mut Worker<'_>) -> Result<()> {
    let seconds = worker.request.confirm_timeout;
    revert_timer::arm(worker.txn, seconds)?;
    worker.armed = true;
    worker.vips_before = net::owned(&vips(worker));
    worker.journal.write(EventKind::Armed { seconds })
}

/// What could cut us off is active: wait for the controller's word, or for the timer to end this process.
pub(crate) fn await_confirm(worker: &mut Worker<'_>, address: String) -> Result<()> {
    let txn = worker.txn;
    txn.mark("awaiting")
        .map_err(|e| Error::new("cannot write the transaction's marker").because(e))?;
    worker.journal.write(EventKind::AwaitConfirm { address })?;
    // Longer than the timer: if systemd lost it, this process reverts.
    let deadline = Instant::now() + Duration::from_secs(worker.request.confirm_timeout + 15);
    while !txn.has("confirmed") {
        check_cancel(txn)?;
        if Instant::now() > deadline {
            return Err(Error::new(
                "the change was not confirmed in time, and the revert timer did not fire",
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    revert_timer::disarm(txn);
    worker.armed = false;
    worker.journal.write(EventKind::Confirmed)
}

/// Where the host is to be found now; empty: where it was.
pub(crate) fn address_after(worker: &Worker<'_>) -> String {
    let resources = worker.request.state.resources.iter();
    let address = resources
        .filter_map(|r| kinds::of(&r.spec).address_after().map(str::to_owned))
        .next();
    let address = address.unwrap_or_default();
    address.split('/').next().unwrap_or_default().to_owned()
}

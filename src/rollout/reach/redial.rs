//! Connecting until something answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::remote::{Ask, Link, Target};

/// One try to connect.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(6);

/// Connects to whichever answers, with back-off until the deadline. Whatever answers meanwhile with another host key is
/// refused each time.
pub(crate) async fn redial<'t>(
    ask: &Arc<dyn Ask>,
    targets: &'t [Target],
    deadline: Instant,
) -> Option<(Link, &'t Target)> {
    let mut pause = Duration::from_millis(250);
    for target in targets.iter().cycle() {
        let left = deadline.checked_duration_since(Instant::now())?;
        let attempt = Link::connect(target, Arc::clone(ask));
        match tokio::time::timeout(left, attempt).await {
            Ok(Ok(link)) => return Some((link, target)),
            Ok(Err(_)) => tokio::time::sleep(pause.min(left)).await,
            Err(_) => return None,
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
    None
}

//! How an nginx that hapair configured tells a client which host answers, and that it serves.

/// The response header that tells which host answered; never sent by a welcome page.
pub const NODE_HEADER: &str = "X-Hapair-Node";

/// The node-local health location: answered by nginx itself, tests no upstream.
pub const HEALTH_PATH: &str = "/.hapair/health";

//! How large the agent may be: it is sent to every host.

/// Linked with musl.
const MUSL: u64 = 4 * 1024 * 1024;
/// What static glibc adds: its locales, its name services' loader, its dynamic linker (measured: 762 KiB).
const GLIBC_MORE: u64 = 768 * 1024;

/// Bytes, for the C library that this build could link it with.
pub(crate) fn most_bytes() -> u64 {
    let glibc = hapair::payload::AGENT_TARGET.ends_with("-gnu");
    MUSL + if glibc { GLIBC_MORE } else { 0 }
}

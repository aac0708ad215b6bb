//! Builds the host-side agent as a static binary and leaves it in OUT_DIR for `src/payload` to embed.
//!
//! Only with feature `cli`: the nested build has that feature off, so there is no recursion.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/payload/agent_target.rs"]
mod agent_target;

/// What the agent is made of; a change elsewhere must not rebuild it.
const AGENT_SOURCES: [&str; 10] = [
    "build.rs",
    "src/payload/agent_target.rs",
    "Cargo.toml",
    "Cargo.lock",
    "src/bin",
    "src/state",
    "src/keepalived",
    "src/vrrp",
    "src/host",
    "src/agent",
];

fn main() {
    for path in AGENT_SOURCES {
        println!("cargo::rerun-if-changed={path}");
    }
    if env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    println!("cargo::rerun-if-env-changed={}", agent_target::CHOICE);
    let target_dir = agent_target_dir();
    let wanted = env::var(agent_target::CHOICE).ok();
    let chosen = agent_target::Toolchain::of_cargo().choose(wanted.as_deref(), &target_dir);
    if let Some(watch) = &chosen.watch {
        println!("cargo::rerun-if-changed={}", watch.display());
    }
    if let Some(why) = &chosen.instead {
        println!("cargo::warning=the agent is linked with glibc instead of musl, a little larger: {why}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("hapair-agent");
    let built = build_agent(&target_dir, chosen.target);
    std::fs::copy(&built, &out).unwrap_or_else(|e| panic!("cannot copy {}: {e}", built.display()));
    println!("cargo::rustc-env=HAPAIR_AGENT={}", out.display());
    // For the tests: how large the agent may be depends on it.
    println!("cargo::rustc-env=HAPAIR_AGENT_BUILT_FOR={}", chosen.target);
}

/// `target/agent`, shared by all profiles: the ancestor of OUT_DIR that cargo marked as a cache.
fn agent_target_dir() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = out
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .unwrap_or(&out);
    target.join("agent")
}

fn build_agent(target_dir: &Path, target: &str) -> PathBuf {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.args([
        "build",
        "--profile",
        "agent",
        "--no-default-features",
        "--features",
        "agent",
        "--bin",
        "hapair-agent",
    ]);
    cargo
        .args(["--target", target])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target_dir);
    cargo.env_clear().envs(env::vars_os().filter(|(name, _)| passes(name)));
    // Always overwritten: an inherited `target-cpu=native` must not reach a binary that runs elsewhere.
    let flags = if target == agent_target::GNU {
        "-Ctarget-feature=+crt-static"
    } else {
        ""
    };
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    let status = cargo
        .status()
        .unwrap_or_else(|e| panic!("cannot run cargo for the agent: {e}"));
    assert!(status.success(), "building hapair-agent for {target} failed");
    target_dir.join(target).join("agent").join("hapair-agent")
}

/// Whether a variable of the outer build may reach the nested one.
fn passes(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    const OUTER_ONLY: [&str; 12] = [
        "TARGET",
        "HOST",
        "PROFILE",
        "OUT_DIR",
        "OPT_LEVEL",
        "DEBUG",
        "NUM_JOBS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTFLAGS",
        "CLIPPY_ARGS",
    ];
    if OUTER_ONLY.contains(&name.as_ref()) {
        return false;
    }
    if let Some(rest) = name.strip_prefix("CARGO_") {
        const KEPT: [&str; 6] = ["HOME", "MAKEFLAGS", "NET_", "HTTP_", "REGISTRIES_", "SOURCE_"];
        return KEPT.iter().any(|kept| rest.starts_with(kept));
    }
    true
}

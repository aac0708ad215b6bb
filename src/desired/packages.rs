//! Step 6: packages.

use super::build::Build;
use super::repositories;
use crate::inventory::BaseRepository;
use crate::state::{Engine, Spec, Stage};

/// Packages whose presence means that the group "Development Tools" is there (comps, mandatory ones).
const DEVELOPMENT_7: &[&str] = &[
    "autoconf",
    "automake",
    "binutils",
    "bison",
    "flex",
    "gcc",
    "gcc-c++",
    "gettext",
    "libtool",
    "make",
    "patch",
    "pkgconfig",
    "redhat-rpm-config",
    "rpm-build",
    "rpm-sign",
];

/// From release 8 on; only what is mandatory in 8, 9 and 10 alike.
const DEVELOPMENT_8: &[&str] = &[
    "autoconf",
    "automake",
    "binutils",
    "bison",
    "flex",
    "gcc",
    "gcc-c++",
    "libtool",
    "make",
    "pkgconf-pkg-config",
    "redhat-rpm-config",
    "rpm-build",
    "rpm-sign",
];

pub(super) fn add(build: &mut Build) {
    if build.inventory.system.development_tools {
        let mandatory = if build.release() == 7 {
            DEVELOPMENT_7
        } else {
            DEVELOPMENT_8
        };
        let name = "Development Tools".to_owned();
        let spec = Spec::PackageGroup {
            name: name.clone(),
            mandatory: mandatory.iter().map(|p| (*p).to_owned()).collect(),
        };
        build.push(Stage::Packages, format!("group {name}"), spec);
    }
    // Repositories that hapair wrote are asked by name, so that a dead one of somebody else's breaks nothing. Where
    // the distribution's are kept as they are, their names are not known, and all enabled ones are asked.
    let base = repositories::base_ids(build);
    if build.inventory.nginx.is_some() {
        let from = match repositories::nginx_id(build) {
            Some(id) if !base.is_empty() => base.iter().cloned().chain([id.to_owned()]).collect(),
            // The distribution's nginx of release 7 is EPEL's, whose repository hapair does not know.
            None if build.release() > 7 => base.clone(),
            _ => Vec::new(),
        };
        push(build, "nginx", from);
        if repositories::nginx_id(build).is_none()
            && build.release() == 7
            && !build.facts.packages.contains_key("nginx")
            && !matches!(build.inventory.repositories.base, BaseRepository::LocalMedia { .. })
        {
            build.note(
                "release 7 has no nginx of its own: it must come from a repository that is enabled on the host (EPEL), \
                 or write `repositories.nginx`",
            );
        }
    }
    if build
        .inventory
        .vrrp
        .as_ref()
        .is_some_and(|v| v.engine == Engine::Keepalived)
    {
        push(build, "keepalived", base);
    }
}

fn push(build: &mut Build, name: &str, repositories: Vec<String>) {
    let spec = Spec::Packages {
        names: vec![name.to_owned()],
        repositories,
    };
    build.push(Stage::Packages, format!("package {name}"), spec);
}

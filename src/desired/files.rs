//! The files a host would get, for showing them.

use crate::state::{Content, HostState, Spec};

/// One file as it would be on a host that had none of it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Absolute path on the host.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// As it would be, secrets included: the code that shows it masks them.
    pub content: String,
}

/// Every text file a host would get, in order of application, secrets included.
///
/// Files that others write too are shown as they would be created; a file that is only edited where it exists,
/// and a copy of the executor's own binary, are left out.
pub fn files(state: &HostState) -> Vec<RenderedFile> {
    let mut out = Vec::new();
    for resource in &state.resources {
        let (path, mode, text) = match &resource.spec {
            Spec::File {
                path,
                content: Content::Text(text),
                mode,
                ..
            } => (path, *mode, text.as_str()),
            Spec::Edit {
                path,
                create: Some(text),
                mode,
                ..
            } => (path, *mode, text.as_str()),
            Spec::Network(spec) => (&spec.path, spec.mode, spec.create.as_str()),
            // The executor's own bytes, and lines of files that are on the host already.
            Spec::File {
                content: Content::Executor,
                ..
            }
            | Spec::Edit { create: None, .. } => continue,
            Spec::Directory { .. }
            | Spec::Selinux { .. }
            | Spec::SelinuxBooleans { .. }
            | Spec::Firewall(_)
            | Spec::Hostname { .. }
            | Spec::Packages { .. }
            | Spec::PackageGroup { .. }
            | Spec::RepositoriesSetAside { .. }
            | Spec::MediaCopy { .. }
            | Spec::Service { .. } => continue,
        };
        out.push(RenderedFile {
            path: path.clone(),
            mode,
            content: text.to_owned(),
        });
    }
    out
}

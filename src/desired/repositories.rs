//! Step 5: where packages come from.

use serde::Serialize;

use super::build::{Build, TextFile};
use super::error::DesiredError;
use super::escape::Syntax;
use crate::inventory::{BaseRepository, NginxRepository};
use crate::state::{Reaction, Spec, Stage, Validator};

const DIRECTORY: &str = "/etc/yum.repos.d";
const BASE: &str = "etc/yum.repos.d/BASE.repo.tera";
const MEDIA: &str = "etc/yum.repos.d/CentOS-Media.repo.tera";
const NGINX: &str = "etc/yum.repos.d/nginx.repo.tera";
const NGINX_FILE: &str = "nginx.repo";
const MEDIA_FILE: &str = "CentOS-Media.repo";

/// The last content of CentOS 7, as the vault names it.
const LAST_7: &str = "7.9.2009";

#[derive(Debug, Serialize)]
struct Repository {
    id: String,
    name: String,
    url: String,
}

impl Repository {
    fn new(id: &str, name: &str, url: String) -> Repository {
        Repository {
            id: id.to_owned(),
            name: name.to_owned(),
            url,
        }
    }
}

#[derive(Debug, Serialize)]
struct View {
    repositories: Vec<Repository>,
    key: String,
}

/// The `.repo` file that holds the distribution's repositories; the shipped one, so that a package update of it is
/// seen as a change and not as a second source.
fn base_file(release: u8) -> &'static str {
    match release {
        7 => "CentOS-Base.repo",
        8 => "CentOS-Stream-BaseOS.repo",
        _ => "centos.repo",
    }
}

/// The key that comes with the release package: a mirror does not get to say which key to trust.
fn key(release: u8) -> String {
    match release {
        7 => "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7".to_owned(),
        8 | 9 => "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial".to_owned(),
        _ => "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial-SHA256".to_owned(),
    }
}

/// Identifiers of the repositories with the distribution's packages, where hapair wrote them and so knows them.
pub(super) fn base_ids(build: &Build) -> Vec<String> {
    base_repositories(build)
        .unwrap_or_default()
        .into_iter()
        .map(|r| r.id)
        .collect()
}

/// The identifier of the repository nginx is to come from, if it is nginx.org's.
pub(super) fn nginx_id(build: &Build) -> Option<&'static str> {
    build.inventory.repositories.nginx.as_ref().map(|which| match which {
        NginxRepository::Stable => "nginx-stable",
        NginxRepository::Mainline => "nginx-mainline",
    })
}

pub(super) fn add(build: &mut Build) -> Result<(), DesiredError> {
    let repositories = base_repositories(build)?;
    let release = build.release();
    match &build.inventory.repositories.base {
        BaseRepository::Keep => {}
        BaseRepository::Aliyun | BaseRepository::Vault => {
            let text = build.render(
                BASE,
                &View {
                    repositories,
                    key: key(release),
                },
            )?;
            push_repository(build, base_file(release), text);
            set_dead_files_aside(build);
        }
        BaseRepository::LocalMedia { path, copy_from } => {
            let (path, copy_from) = (path.clone(), copy_from.clone());
            build.guard(Syntax::IniLine, "repositories.base.local_media.path", &path)?;
            if let Some(from) = copy_from {
                let spec = Spec::MediaCopy { from, to: path.clone() };
                build.push(Stage::Repositories, format!("media {path}"), spec);
            }
            let text = build.render(
                MEDIA,
                &View {
                    repositories,
                    key: key(release),
                },
            )?;
            push_repository(build, MEDIA_FILE, text);
            let mut keep = vec![MEDIA_FILE.to_owned()];
            keep.extend(nginx_id(build).map(|_| NGINX_FILE.to_owned()));
            push_set_aside(build, keep);
            if build.inventory.nginx.is_some() {
                note_nginx_source(build);
            }
        }
    }
    if let Some(id) = nginx_id(build) {
        #[derive(Serialize)]
        struct NginxView {
            id: &'static str,
            name: &'static str,
            url: String,
            module_hotfixes: bool,
        }
        let mainline = id == "nginx-mainline";
        let view = NginxView {
            id,
            name: if mainline {
                "nginx mainline repo"
            } else {
                "nginx stable repo"
            },
            // The literal release: $releasever may be pinned to a minor one, or expand to nothing at all.
            url: format!(
                "https://nginx.org/packages/{}centos/{release}/$basearch/",
                if mainline { "mainline/" } else { "" }
            ),
            module_hotfixes: release >= 8,
        };
        let text = build.render(NGINX, &view)?;
        push_repository(build, NGINX_FILE, text);
        if release == 7 {
            build.note("nginx.org no longer builds for release 7: its last package is 1.26.1");
        }
    }
    Ok(())
}

fn note_nginx_source(build: &mut Build) {
    build.note(if nginx_id(build).is_some() {
        "the installation disc has no nginx for release 7, and an old one elsewhere: nginx comes from nginx.org, \
         which the host must be able to reach"
    } else if build.release() == 7 {
        "the installation disc of release 7 has no nginx, and no other repository stays enabled: nginx must come \
         from somewhere else (repositories.nginx, or installed by hand before)"
    } else {
        "nginx comes from the installation disc's AppStream"
    });
}

/// What stands in the base `.repo` file; empty for `keep`.
fn base_repositories(build: &Build) -> Result<Vec<Repository>, DesiredError> {
    let release = build.release();
    let base = &build.inventory.repositories.base;
    if matches!(base, BaseRepository::Aliyun | BaseRepository::Vault) && build.facts.release.id != "centos" {
        return Err(build.impossible(
            format!(
                "'{}' is not CentOS, whose repositories `base` would write",
                build.facts.release.id
            ),
            "use `base: keep`, or `base: local_media`",
        ));
    }
    // The vault keeps other architectures of release 7 in a tree of their own.
    let tree = if build.facts.architecture == "x86_64" {
        "centos"
    } else {
        "altarch"
    };
    let repositories = match (base, release) {
        (BaseRepository::Keep, _) => Vec::new(),
        (BaseRepository::Aliyun, 7) if tree == "centos" => {
            seven(|part| format!("https://mirrors.aliyun.com/centos/7/{part}/$basearch/"))
        }
        (BaseRepository::Aliyun, 7) => {
            seven(|part| format!("https://mirrors.aliyun.com/centos-altarch/7/{part}/$basearch/"))
        }
        (BaseRepository::Aliyun, 8) => stream("https://mirrors.aliyun.com/centos-vault/8-stream", 8),
        (BaseRepository::Aliyun, n) => stream(&format!("https://mirrors.aliyun.com/centos-stream/{n}-stream"), n),
        (BaseRepository::Vault, 7) if tree == "centos" => {
            seven(|part| format!("https://vault.centos.org/{LAST_7}/{part}/$basearch/"))
        }
        (BaseRepository::Vault, 7) => {
            seven(|part| format!("https://vault.centos.org/altarch/{LAST_7}/{part}/$basearch/"))
        }
        (BaseRepository::Vault, 8) => stream("https://vault.centos.org/8-stream", 8),
        (BaseRepository::Vault, n) => {
            return Err(build.impossible(
                format!("release {n} is not in the vault: its repositories are still online"),
                "use `base: keep`, or `base: aliyun`",
            ));
        }
        (BaseRepository::LocalMedia { path, .. }, release) => {
            let root = file_url(path);
            if release == 7 {
                vec![Repository::new("local-media", "CentOS-7 - Media", format!("{root}/"))]
            } else {
                ["BaseOS", "AppStream"]
                    .into_iter()
                    .map(|part| {
                        let id = format!("local-media-{}", part.to_lowercase());
                        Repository::new(
                            &id,
                            &format!("CentOS-{release} - Media - {part}"),
                            format!("{root}/{part}/"),
                        )
                    })
                    .collect()
            }
        }
    };
    Ok(repositories)
}

fn seven(url: impl Fn(&str) -> String) -> Vec<Repository> {
    [
        ("base", "os", "Base"),
        ("updates", "updates", "Updates"),
        ("extras", "extras", "Extras"),
    ]
    .into_iter()
    .map(|(id, part, name)| Repository::new(id, &format!("CentOS-7 - {name}"), url(part)))
    .collect()
}

fn stream(root: &str, release: u8) -> Vec<Repository> {
    [("baseos", "BaseOS"), ("appstream", "AppStream")]
        .into_iter()
        .map(|(id, part)| {
            let name = format!("CentOS Stream {release} - {part}");
            Repository::new(id, &name, format!("{root}/{part}/$basearch/os/"))
        })
        .collect()
}

/// `file://` URL of a directory, without a slash at the end.
fn file_url(path: &str) -> String {
    let mut url = String::from("file://");
    for byte in path.trim_end_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~+".contains(&byte) {
            url.push(byte as char);
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

fn push_repository(build: &mut Build, file: &str, text: String) {
    let path = format!("{DIRECTORY}/{file}");
    let reactions = vec![Reaction::MakeCache];
    build.push_file(
        Stage::Repositories,
        TextFile {
            path: &path,
            content: text,
            mode: 0o644,
            validator: Some(Validator::Repository),
            reactions,
        },
    );
}

fn push_set_aside(build: &mut Build, keep: Vec<String>) {
    let spec = Spec::RepositoriesSetAside {
        directory: DIRECTORY.to_owned(),
        keep,
    };
    build
        .push(Stage::Repositories, format!("repositories {DIRECTORY}"), spec)
        .reactions = vec![Reaction::MakeCache];
}

/// The distribution's other files point at mirrors that are gone, or would be a second source; everybody else's stay.
///
/// On release 7 what CentOS-Base.repo does not hold is disabled as shipped, and stays.
fn set_dead_files_aside(build: &mut Build) {
    let release = build.release();
    let ours = base_file(release);
    let dead = |file: &str| match release {
        7 => false,
        8 => file.starts_with("CentOS-") && file != ours,
        _ => file == "centos-addons.repo",
    };
    if !build.facts.repository_files.iter().any(|f| dead(f)) {
        return;
    }
    let mut keep: Vec<String> = build
        .facts
        .repository_files
        .iter()
        .filter(|f| !dead(f))
        .cloned()
        .collect();
    keep.push(ours.to_owned());
    keep.extend(nginx_id(build).map(|_| NGINX_FILE.to_owned()));
    keep.sort();
    keep.dedup();
    push_set_aside(build, keep);
}

//! `system` and `repositories`: what is not written is kept as it is.

use crate::inventory::grammar::{PATH, PATH_WITH_BLANKS};
use crate::inventory::model::{BaseRepository, Firewalld, NginxRepository, Repositories, System};
use crate::inventory::node::Value;
use crate::inventory::table::Table;
use crate::state::SelinuxMode;

/// `system`.
pub(super) fn system(inventory: &Table<'_>) -> System {
    let Some(table) = inventory.table("system", &["selinux", "firewalld", "development_tools"]) else {
        return System::default();
    };
    let selinux = [
        ("enforcing", Some(SelinuxMode::Enforcing)),
        ("permissive", Some(SelinuxMode::Permissive)),
        ("disabled", Some(SelinuxMode::Disabled)),
        ("keep", None),
    ];
    let firewalld = [
        ("disabled", Some(Firewalld::Disabled)),
        ("managed", Some(Firewalld::Managed)),
        ("keep", None),
    ];
    System {
        selinux: table.choice("selinux", &selinux).and_then(|m| m.value),
        firewalld: table.choice("firewalld", &firewalld).and_then(|m| m.value),
        development_tools: table.flag("development_tools").is_some_and(|f| f.value),
    }
}

/// `repositories`.
pub(super) fn repositories(inventory: &Table<'_>) -> Repositories {
    let Some(table) = inventory.table("repositories", &["base", "nginx"]) else {
        return Repositories::default();
    };
    let nginx = [
        ("stable", Some(NginxRepository::Stable)),
        ("mainline", Some(NginxRepository::Mainline)),
        ("keep", None),
    ];
    Repositories {
        base: base(&table).unwrap_or_default(),
        nginx: table.choice("nginx", &nginx).and_then(|n| n.value),
    }
}

fn base(repositories: &Table<'_>) -> Option<BaseRepository> {
    let node = repositories.get("base")?;
    if matches!(node.value, Value::Map(_)) {
        let media = repositories.table("base", &["local_media"])?;
        media.need("local_media", "as in base: {local_media: {path: /mnt/CentOS7_ISO}}")?;
        let media = media.table("local_media", &["path", "copy_from"])?;
        media.need(
            "path",
            "the directory that holds the disc's content, as in path: /mnt/CentOS7_ISO",
        )?;
        let path = media.word("path", &PATH);
        let copy_from = media.word("copy_from", &PATH_WITH_BLANKS);
        let path = path?;
        let inside = |inner: &str, outer: &str| {
            let (inner, outer) = (inner.trim_end_matches('/'), outer.trim_end_matches('/'));
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(from) = &copy_from
            && (inside(&from.value, &path.value) || inside(&path.value, &from.value))
        {
            let hint = "copy_from is where the disc is mounted, path is where the copy goes";
            repositories
                .context
                .error_hint(from.span, "copy_from and path lie in one another", hint);
        }
        return Some(BaseRepository::LocalMedia {
            path: path.value,
            copy_from: copy_from.map(|c| c.value),
        });
    }
    #[derive(Clone, Copy)]
    enum Named {
        Keep,
        Aliyun,
        Vault,
    }
    let names = [
        ("keep", Named::Keep),
        ("aliyun", Named::Aliyun),
        ("vault", Named::Vault),
    ];
    if let Value::Scalar { text, .. } = &node.value
        && text == "local_media"
    {
        let hint = "write it as base: {local_media: {path: /mnt/CentOS7_ISO}}";
        repositories
            .context
            .error_hint(node.span, "local_media needs a path", hint);
        return None;
    }
    Some(match repositories.choice("base", &names)?.value {
        Named::Keep => BaseRepository::Keep,
        Named::Aliyun => BaseRepository::Aliyun,
        Named::Vault => BaseRepository::Vault,
    })
}

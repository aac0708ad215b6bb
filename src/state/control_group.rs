//! Control groups as `/proc/PID/cgroup` lists them (cgroups(7)), and the units of systemd that they are.

/// A process's control group in systemd's own hierarchy, or in the only one (version 2).
pub fn path(text: &str) -> Option<&str> {
    // hierarchy-ID:controllers:path; the path may hold colons.
    let of = |wanted: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            (controllers == wanted).then_some(path)
        })
    };
    of("name=systemd").or_else(|| of(""))
}

/// The control group above all units of one systemd, without a trailing `/`. `init` is the control group of that systemd's
/// process 1.
pub fn top(init: &str) -> &str {
    // Until systemd 226 process 1 was in the top itself; inside of a container there is something before it.
    init.strip_suffix("/init.scope").unwrap_or(init).trim_end_matches('/')
}

/// The part of `group` below [`top`]: empty, or with a leading `/`. `None`: `group` belongs to another systemd.
pub fn below<'a>(group: &'a str, init: &str) -> Option<&'a str> {
    let below = group.strip_prefix(top(init))?;
    (below.is_empty() || below.starts_with('/')).then_some(below)
}

/// The unit that a control group belongs to, whatever its slice: `nginx.service`, `session-3.scope`. `below` comes from [`below`].
/// A process in a container, or under a user's own systemd, belongs to the unit that holds it: `docker-….scope`.
pub fn unit(below: &str) -> Option<&str> {
    let mut parts = below.split('/');
    parts.find(|part| !part.is_empty() && !part.ends_with(".slice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_one_hierarchy_of_systemds_own() {
        let v1 = "11:memory:/system.slice\n1:name=systemd:/system.slice/nginx.service\n";
        assert_eq!(path(v1), Some("/system.slice/nginx.service"));
        assert_eq!(path("1:name=systemd:/x.service\n0::/y\n"), Some("/x.service"));
        assert_eq!(
            path("0::/user.slice/session-3.scope\n"),
            Some("/user.slice/session-3.scope")
        );
        assert_eq!(path("0::/a:b\n"), Some("/a:b"));
        assert_eq!(path(""), None);
    }

    #[test]
    fn a_unit_is_the_first_that_is_no_slice_below_the_top_of_process_1() {
        let unit_of = |group, init| below(group, init).and_then(unit);
        for init in ["/", "/init.scope"] {
            assert_eq!(unit_of("/system.slice/nginx.service", init), Some("nginx.service"));
        }
        let inside = "/lab/web1/init.scope";
        assert_eq!(
            unit_of("/lab/web1/web.slice/web-front.slice/nginx.service", inside),
            Some("nginx.service")
        );
        assert_eq!(unit_of("/lab/web10/system.slice/nginx.service", inside), None);
        assert_eq!(
            unit_of("/system.slice/docker-12ab.scope/system.slice/keepalived.service", "/"),
            Some("docker-12ab.scope")
        );
        assert_eq!(unit_of("/system.slice", "/"), None);
    }
}

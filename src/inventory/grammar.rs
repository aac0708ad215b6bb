//! What a string may hold, so that it means the same wherever it is rendered.
//!
//! A value lands in keepalived.conf (where `!`, `#`, `$`, `~`, quotes and braces have a meaning), nginx.conf (`;`,
//! braces, `$`), ifcfg files (sourced by bash), keyfiles, /etc/hosts, repository files and shell scripts. Instead of
//! quoting for each, every field takes one of the grammars below, all of them free of such characters.

use super::host_port::{all, is_host, is_hostname, is_port, parse_url, split_host_port, starts_alnum};

/// A named rule for strings.
#[derive(Debug)]
pub(super) struct Grammar {
    /// With its article, as it follows "is not".
    pub(super) name: &'static str,
    /// What it allows, as a hint.
    pub(super) rule: &'static str,
    /// Longest, in bytes.
    pub(super) max: usize,
    accepts: fn(&str) -> bool,
}

impl Grammar {
    /// A grammar made of others, at most 1024 long.
    pub(super) const fn either(name: &'static str, rule: &'static str, accepts: fn(&str) -> bool) -> Grammar {
        Grammar {
            name,
            rule,
            max: 1024,
            accepts,
        }
    }

    /// The hint for a string that is not of this grammar.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        if text.len() > self.max {
            return Err(format!(
                "at most {} characters, this has {}",
                self.max,
                text.chars().count()
            ));
        }
        if (self.accepts)(text) {
            Ok(())
        } else {
            Err(self.rule.to_owned())
        }
    }
}

/// Name of the pair.
pub(super) const PAIR: Grammar = Grammar {
    name: "a pair name",
    rule: "letters, digits and -, starting with a letter or digit",
    max: 32,
    accepts: |t| all(t, "-") && starts_alnum(t),
};

/// RFC 1123, at most Linux's 64 characters (`HOST_NAME_MAX`).
pub(super) const HOSTNAME: Grammar = Grammar {
    name: "a host name",
    rule: "RFC 1123: labels of letters, digits and - joined by dots, not all digits, not localhost",
    max: 64,
    accepts: |t| is_hostname(t) && !t.eq_ignore_ascii_case("localhost"),
};

/// A host name or an address.
pub(super) const HOST: Grammar = Grammar {
    name: "a host name or address",
    rule: "such as edge-1.example.com, 192.0.2.10 or 2001:db8::10",
    max: 253,
    accepts: is_host,
};

/// Names that keepalived.conf and nginx.conf use as they are, and that become part of file names.
pub(super) const WORD: Grammar = Grammar {
    name: "a plain word",
    rule: "letters, digits, _ . and -, starting with a letter or digit",
    max: 64,
    accepts: |t| all(t, "_.-") && starts_alnum(t),
};

/// Linux interface names, IFNAMSIZ - 1 long.
pub(super) const INTERFACE: Grammar = Grammar {
    name: "an interface name",
    rule: "letters, digits, _ . and -, such as enp0s3, eth0 or bond0.100; not lo, and no alias such as eth0:1",
    max: 15,
    accepts: |t| {
        // ifcfg files with these endings are ignored by network.service or NetworkManager; the first three name
        // other things under /proc/sys/net.
        let reserved = ["lo", "all", "default"].contains(&t);
        let ignored = [
            ".bak", ".old", ".orig", ".rej", ".rpmnew", ".rpmorig", ".rpmsave", "-range",
        ];
        all(t, "_.-") && starts_alnum(t) && !reserved && !ignored.iter().any(|s| t.ends_with(s))
    },
};

/// An absolute path on the host that needs no quotes anywhere.
pub(super) const PATH: Grammar = Grammar {
    name: "an absolute path",
    rule: "starts with /; letters, digits and / . _ - + , : = @ only; no .. in it",
    max: 255,
    accepts: |t| is_path(t, "/._-+,:=@"),
};

/// An absolute path that no file of ours holds, so that blanks are harmless.
pub(super) const PATH_WITH_BLANKS: Grammar = Grammar {
    name: "an absolute path",
    rule: "starts with /; letters, digits, blanks and / . _ - + , : = @ ( ) only; no .. in it",
    max: 255,
    accepts: |t| is_path(t, "/._-+,:=@() ") && t.trim() == t,
};

/// A path on the operator's machine.
pub(super) const LOCAL_PATH: Grammar = Grammar {
    name: "a path",
    rule: "a path on this machine; ~/ at its start is the home directory (not ~user), no control characters",
    max: 4096,
    accepts: |t| {
        !t.is_empty() && !t.chars().any(char::is_control) && (!t.starts_with('~') || t == "~" || t.starts_with("~/"))
    },
};

/// An http or https URL without user and password.
pub(super) const URL: Grammar = Grammar {
    name: "an http URL",
    rule: "http:// or https://, host, optional port and path; letters, digits and / . _ - : % & = ? + , ~ @ [ ] only; no password",
    max: 1024,
    accepts: |t| parse_url(t).is_some(),
};

/// nginx's `server_name`.
pub(super) const SERVER_NAME: Grammar = Grammar {
    name: "a server name",
    rule: "a host name, *.example.com, example.* or _; regular expressions belong in extra_files",
    max: 253,
    accepts: |t| {
        let bare = t
            .strip_prefix("*.")
            .or_else(|| t.strip_prefix('.'))
            .or_else(|| t.strip_suffix(".*"))
            .unwrap_or(t);
        t == "_" || is_host(bare)
    },
};

/// A mail address.
pub(super) const EMAIL: Grammar = Grammar {
    name: "a mail address",
    rule: "user@host, with letters, digits and . _ % + - before the @",
    max: 254,
    accepts: |t| {
        t.split_once('@')
            .is_some_and(|(user, host)| all(user, "._%+-") && is_hostname(host))
    },
};

/// keepalived's `smtp_server`.
pub(super) const SMTP_SERVER: Grammar = Grammar {
    name: "a mail server",
    rule: "a host name or address, and if need be a port after a blank: `192.0.2.25 587`",
    max: 253,
    accepts: |t| match t.split_once(' ') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(t),
    },
};

/// A login name.
pub(super) const USER: Grammar = Grammar {
    name: "a user name",
    rule: "letters, digits, _ . and -, starting with a letter or _",
    max: 32,
    accepts: is_user,
};

/// keepalived's `script_user` and a script's `user`.
pub(super) const USER_AND_GROUP: Grammar = Grammar {
    name: "a user, or a user and a group",
    rule: "`root` or `nginx nginx`",
    max: 65,
    accepts: |t| match t.split_once(' ') {
        Some((user, group)) => is_user(user) && is_user(group),
        None => is_user(t),
    },
};

/// keepalived's `router_id`.
pub(super) const ROUTER_ID: Grammar = Grammar {
    name: "a router id",
    rule: "letters, digits, _ . : and -",
    max: 64,
    accepts: |t| all(t, "_.:-"),
};

/// A command line; keepalived runs it without a shell, so a shell's characters would only mislead.
pub(super) const COMMAND: Grammar = Grammar {
    name: "a command line",
    rule: "a program and its arguments; letters, digits, blanks and / . _ - + , : = @ % only: keepalived runs it without a shell, so pipes, quotes and variables belong in a script of your own",
    max: 512,
    accepts: |t| {
        all(t, "/._-+,:=@% ")
            && t.trim() == t
            && (starts_alnum(t) || t.starts_with('/'))
            && t.split(' ')
                .next()
                .is_some_and(|program| all(program, "/._-+") && !program.ends_with('/'))
    },
};

/// A name as in /proc/PID/comm.
pub(super) const PROCESS: Grammar = Grammar {
    name: "a process name",
    rule: "as in /proc/PID/comm: letters, digits and . _ : + @ / -",
    max: 15,
    accepts: |t| all(t, "._:+@/-"),
};

/// A systemd unit that can be started.
pub(super) const UNIT: Grammar = Grammar {
    name: "a service unit",
    rule: "such as nginx.service",
    max: 128,
    accepts: |t| {
        t.strip_suffix(".service")
            .is_some_and(|name| all(name, "_.@:-") && starts_alnum(name))
    },
};

/// An environment variable.
pub(super) const VARIABLE: Grammar = Grammar {
    name: "an environment variable",
    rule: "letters, digits and _, not starting with a digit",
    max: 128,
    accepts: |t| all(t, "_") && !t.starts_with(|c: char| c.is_ascii_digit()),
};

/// What is asked on the terminal.
pub(super) const PROMPT: Grammar = Grammar {
    name: "a prompt",
    rule: "one line without control characters",
    max: 200,
    accepts: |t| !t.trim().is_empty() && !t.chars().any(char::is_control),
};

/// OpenSSH's ProxyJump, one hop.
pub(super) const JUMP: Grammar = Grammar {
    name: "a jump host",
    rule: "one host as in OpenSSH's ProxyJump: user@host:port, with user and port optional",
    max: 300,
    accepts: |t| {
        let (user, rest) = t.rsplit_once('@').map_or((None, t), |(u, r)| (Some(u), r));
        user.is_none_or(is_user) && split_host_port(rest).is_some()
    },
};

/// The name under which a file of the operator's lands in nginx's conf.d.
pub(super) const CONF_NAME: Grammar = Grammar {
    name: "a file name for conf.d",
    rule: "letters, digits, _ . and -, ending in .conf; not default.conf, which belongs to nginx's package, and no name with hapair in it",
    max: 64,
    accepts: |t| {
        all(t, "_.-")
            && starts_alnum(t)
            && t.len() > 5
            && t.ends_with(".conf")
            && t != "default.conf"
            && !t.contains("hapair")
    },
};

fn is_user(text: &str) -> bool {
    all(text, "_.-") && text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn is_path(text: &str, extra: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && all(text, extra) && !text.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each target file would take as syntax.
    const DANGEROUS: &[&str] = &[
        "a\nb",
        "a\rb",
        "a\0b",
        "a\"b",
        "a'b",
        "a;b",
        "a{b",
        "a}b",
        "a`b",
        "a$(b)",
        "a$b",
        "a#b",
        "a!b",
        "a\\b",
        "a|b",
        "a<b",
        "a>b",
        "a\tb",
        "",
        " ",
        "a\u{2028}b",
        "\u{202e}a",
        "a*b",
    ];

    #[test]
    fn no_grammar_for_rendered_values_lets_syntax_through() {
        let rendered = [
            &PAIR,
            &HOSTNAME,
            &HOST,
            &WORD,
            &INTERFACE,
            &PATH,
            &URL,
            &SERVER_NAME,
            &EMAIL,
            &SMTP_SERVER,
            &USER,
            &USER_AND_GROUP,
            &ROUTER_ID,
            &COMMAND,
            &PROCESS,
            &UNIT,
            &VARIABLE,
            &JUMP,
            &CONF_NAME,
        ];
        for grammar in rendered {
            for text in DANGEROUS {
                for text in [
                    (*text).to_owned(),
                    format!("/{text}"),
                    format!("http://{text}/"),
                    format!("x@{text}"),
                    format!("{text}.conf"),
                    format!("{text}.service"),
                ] {
                    let clean = text
                        .chars()
                        .all(|c| c.is_ascii_graphic() && !"\"';{}`$#!\\|<>()*".contains(c));
                    assert!(
                        clean || grammar.check(&text).is_err(),
                        "{} accepts {text:?}",
                        grammar.name
                    );
                }
            }
        }
    }

    #[test]
    fn what_operators_write_is_accepted() {
        for (grammar, text) in [
            (&PAIR, "edge-1"),
            (&HOSTNAME, "nginx-master"),
            (&HOSTNAME, "a.b.example.com"),
            (&HOST, "10.0.0.1"),
            (&HOST, "fe80::1"),
            (&WORD, "chk_nginx"),
            (&WORD, "VI_1"),
            (&INTERFACE, "enp0s3"),
            (&INTERFACE, "bond0.100"),
            (&PATH, "/mnt/CentOS7_ISO"),
            (&PATH_WITH_BLANKS, "/run/media/root/CentOS 7 x86_64"),
            (&LOCAL_PATH, "~/.ssh/id_ed25519"),
            (&URL, "http://localhost/"),
            (&URL, "http://[::1]:8080/a?b=c&d=%20"),
            (&URL, "http://app_servers"),
            (&SERVER_NAME, "*.example.com"),
            (&SERVER_NAME, "_"),
            (&EMAIL, "Alexandre.Cassen@firewall.loc"),
            (&SMTP_SERVER, "192.168.200.1"),
            (&SMTP_SERVER, "mail.example.com 587"),
            (&USER_AND_GROUP, "nginx nginx"),
            (&ROUTER_ID, "nginx_master"),
            (&COMMAND, "killall -0 nginx"),
            (&COMMAND, "/usr/bin/pgrep -x nginx"),
            (&UNIT, "nginx.service"),
            (&JUMP, "op@bastion.example.com:2222"),
            (&JUMP, "[2001:db8::1]:22"),
            (&CONF_NAME, "site.conf"),
            (&PROCESS, "nginx"),
        ] {
            assert_eq!(grammar.check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_would_not_work_is_refused() {
        for (grammar, text) in [
            (&HOSTNAME, "localhost"),
            (&HOSTNAME, "a_b"),
            (&HOSTNAME, "-a"),
            (&HOSTNAME, "192.168.0.1"),
            (&HOSTNAME, "7"),
            (&INTERFACE, "sixteen-letters-"),
            (&INTERFACE, "eth0:1"),
            (&INTERFACE, "lo"),
            (&INTERFACE, "eth0.bak"),
            (&INTERFACE, "../x"),
            (&PATH, "relative"),
            (&PATH, "/a/../b"),
            (&PATH, "/"),
            (&LOCAL_PATH, "~root/x"),
            (&URL, "ftp://a/"),
            (&URL, "http://u:p@h/"),
            (&URL, "http://h:0/"),
            (&URL, "http://"),
            (&COMMAND, "a && b"),
            (&COMMAND, "-x"),
            (&PROCESS, "a-name-longer-than-15"),
            (&JUMP, "a,b"),
            (&CONF_NAME, "default.conf"),
            (&CONF_NAME, "site.txt"),
            (&UNIT, "nginx"),
            (&SMTP_SERVER, "h 0"),
        ] {
            assert!(grammar.check(text).is_err(), "{text}");
        }
    }
}

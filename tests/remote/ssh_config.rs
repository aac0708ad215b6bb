//! The operator's ssh_config, proxies and jump hosts.

use super::*;

#[test]
fn ssh_config_is_honoured_and_the_inventory_wins() {
    let sshd = sshd!();
    let lines = format!(
        "Host edge\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\nIdentityAgent none\nHostKeyAlias the-alias",
        sshd.port,
        me(),
        sshd.at("user").display()
    );
    let (target, tuning) = configured(&sshd, &lines);
    let target = Target {
        address: "edge".into(),
        port: None,
        user: None,
        ..target
    };
    connect(&target, nobody(), tuning.clone()).unwrap();
    let stored = std::fs::read_to_string(sshd.at("known_hosts")).unwrap();
    contains(&stored, &["the-alias ssh-ed25519"]);
    // The inventory's port and user.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let other = Target {
        port: Some(port),
        ..target.clone()
    };
    contains(
        &fails(&other, nobody(), tuning.clone()),
        &[&format!("127.0.0.1:{port}")],
    );
    let other = Target {
        user: Some("nobody-else".into()),
        ..target
    };
    contains(&fails(&other, nobody(), tuning), &["login as nobody-else was refused"]);
}

#[test]
fn the_default_login_is_root_and_not_the_local_user() {
    let sshd = sshd!();
    let (target, tuning) = configured(&sshd, "IdentityAgent none\nIdentityFile none");
    let target = Target { user: None, ..target };
    contains(&fails(&target, nobody(), tuning), &["login as root was refused"]);
}

#[test]
fn a_broken_ssh_config_is_told_in_ssh_s_own_words() {
    let sshd = sshd!();
    let (target, tuning) = configured(&sshd, "NoSuchKeyword yes");
    contains(&fails(&target, nobody(), tuning), &["refuses your ssh configuration"]);
}

#[test]
fn through_a_proxy_command() {
    let sshd = sshd!();
    let lines = "ProxyCommand perl -MIO::Socket -e '$s=IO::Socket::INET->new(PeerAddr=>\"%h:%p\") or die; \
        if(fork){while(sysread($s,$b,65536)){syswrite(STDOUT,$b)}exit}\
        while(sysread(STDIN,$b,65536)){syswrite($s,$b)}shutdown($s,1)'\nIdentityAgent none";
    let (target, tuning) = configured(&sshd, lines);
    let target = Target {
        identity_file: Some(sshd.at("user")),
        ..target
    };
    let mut link = connect(&target, nobody(), tuning.clone()).unwrap();
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    let (target, tuning) = configured(
        &sshd,
        "ProxyCommand echo 'no way through' >&2; exit 1\nIdentityAgent none",
    );
    contains(
        &fails(&target, nobody(), tuning),
        &["ProxyCommand gives no connection", "no way through"],
    );
}

#[test]
fn through_a_jump_host() {
    let sshd = sshd!();
    if !have("/usr/bin/ssh") {
        return;
    }
    // The jump host is the same sshd.
    let known = format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.public("ed25519"));
    std::fs::write(sshd.at("known_hosts"), known).unwrap();
    let target = Target {
        proxy_jump: Some(format!("{}@127.0.0.1:{}", me(), sshd.port)),
        ..sshd.target()
    };
    let mut link = connect(&target, nobody(), sshd.tuning(&acks())).unwrap();
    assert_eq!(block_on(link.request(&Request::Unwatch)).unwrap(), Reply::Ack);
    block_on(link.close());
    wait_for("the jump's ssh is gone", || sshd.sessions().is_empty());
    let target = Target {
        proxy_jump: Some("nobody-at-all@127.0.0.1:1".into()),
        ..sshd.target()
    };
    contains(
        &fails(&target, nobody(), sshd.tuning(&acks())),
        &["the jump host nobody-at-all@127.0.0.1:1 gives no connection"],
    );
}

//! The stop step: after a crash the addresses go, then the peers are told.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::net::netlink::{Assigned, Netlink};
use super::net::vrrp_socket::{Outbox, VrrpSocket};
use super::notes::Notes;
use super::os::run_marker::Claim;
use super::os::{run_marker, sys};
use super::{config, plan};
use crate::keepalived::{Config, Family, Instance};
use crate::vrrp::Form;
use crate::vrrp::hmac::Sequence;

/// So often it is tried to take the addresses off.
const TRIES: u32 = 5;
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);

fn remove(netlink: &mut Netlink, addresses: &[Assigned]) -> io::Result<()> {
    let mut left = addresses.to_vec();
    for last in (0..TRIES).rev() {
        let failed = netlink.remove(&left);
        left = failed.iter().map(|(at, _)| left[*at]).collect();
        match failed.into_iter().next() {
            None => break,
            Some((_, e)) if last == 0 => return Err(e),
            Some(_) => std::thread::sleep(AGAIN),
        }
    }
    Ok(())
}

/// In which forms the last advert of an instance goes out: in the one that its peers use, as far as the run knew it, else in the two
/// of today. A peer ignores an advert whose checksum it makes otherwise, and would wait three adverts; one it hears twice
/// changes nothing. [`Form::PseudoGroup`] is only for who was heard to use it: a keepalived from 1.3.7 on that once hears it
/// in unicast refuses every other form from then on, and so also the owner that is there again.
fn forms(instance: &Instance, learned: Option<Form>) -> &'static [Form] {
    match (instance.version, instance.family, learned) {
        // There is only one.
        (2, ..) | (_, Family::V6, _) => &[Form::Pseudo],
        (_, _, Some(Form::Plain)) => &[Form::Plain],
        (_, _, Some(Form::Pseudo)) => &[Form::Pseudo],
        (_, _, Some(Form::PseudoGroup)) => &[Form::PseudoGroup],
        (_, _, None) => &[Form::Pseudo, Form::Plain],
    }
}

/// What ExecStopPost does. Nothing, unless the daemon ended without cleaning up itself, and then once; so it never takes an
/// address from a daemon that lives, or from another engine. Returns the names of the instances that were released.
///
/// # Errors
/// The daemon lives, or something could not be done. As long as addresses are left it can be called again.
pub fn release(path: &Path, config_id: Option<&str>, state_dir: &Path) -> io::Result<Vec<String>> {
    let mark = match run_marker::left_behind(state_dir)? {
        None => return Ok(Vec::new()),
        Some(Claim::Theirs(pid)) => return Err(io::Error::other(format!("the agent is running as process {pid}"))),
        Some(Claim::Ours(mark, _)) => mark,
    };
    // A configuration that is broken by now names no peers, but what this run had on is known all the same.
    let loaded = config::load(path, config_id).map(|loaded| loaded.config);
    let (config, unread) = match loaded {
        Ok(config) => (config, None),
        Err(e) => (Config::default(), Some(e)),
    };
    let mut netlink = Netlink::open()?;
    let links = netlink.read()?;
    let mut released = Vec::new();
    let mut off: Vec<Assigned> = Vec::new();
    for instance in &config.instances {
        let ours = plan::addresses(instance, &links).into_iter().map(|a| a.at);
        let there: Vec<Assigned> = ours.filter(|a| links.addresses.contains(a)).collect();
        if !there.is_empty() {
            off.extend(there);
            released.push(instance);
        }
    }
    let notes = Notes::read(state_dir);
    let noted = notes.addresses.iter().filter_map(|(name, ip, prefix)| {
        Some(Assigned {
            index: links.named(name)?.index,
            ip: *ip,
            prefix: *prefix,
        })
    });
    off.extend(noted.filter(|a| links.addresses.contains(a)));
    off.sort_unstable();
    off.dedup();
    // First the addresses: from here on nobody is answered wrongly. The word to the peers comes even if that failed.
    let vips = plan::vips(&config);
    let removed = remove(&mut netlink, &off);
    let marked = if removed.is_ok() { mark.cleaned_up() } else { Ok(()) };
    let mut by_wire: BTreeMap<(&str, Family), Outbox> = BTreeMap::new();
    for instance in &released {
        let Some(source) = plan::source(&vips, instance, &links) else {
            continue;
        };
        let farewell = plan::settings(instance, source).advert(0);
        let auth = plan::auth_hmac(instance);
        let seal = auth
            .as_ref()
            .and_then(|auth| auth.seal(&Sequence::default(), sys::now(), sys::real_time()));
        let outbox = by_wire.entry((&instance.interface, instance.family)).or_default();
        // Who checks signatures understands this form: else it would not have stayed a standby, and would have been heard. The same
        // seal in a second form looks as if somebody sent the first one again.
        let signed = seal.map(|_| Form::Pseudo);
        let forms = forms(instance, notes.forms.get(&instance.name).copied().or(signed));
        for to in plan::targets(&config, instance) {
            for form in forms {
                outbox.push((&farewell, *form, seal), source, to, plan::hops(instance));
            }
        }
    }
    // A wire that is down is no reason to say nothing on the others.
    let mut first = removed.err().or(marked.err()).or(unread);
    for ((interface, family), mut outbox) in by_wire {
        let Some(link) = links.named(interface) else { continue };
        match VrrpSocket::open(interface, link.index, family) {
            Ok(socket) => first = first.or(socket.send(&mut outbox).into_iter().next().map(|(_, e)| e)),
            Err(e) => first = first.or(Some(e)),
        }
    }
    if let Some(error) = first {
        return Err(error);
    }
    Ok(released.iter().map(|i| i.name.clone()).collect())
}

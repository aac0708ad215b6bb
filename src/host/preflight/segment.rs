//! Other hosts on the segment that have a VIP of ours or send adverts with a `virtual_router_id` of ours.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::host::os::arp::{self, Interface};
use crate::host::os::root::Root;
use crate::host::os::vrrp_listen;
use crate::state::resource::InstanceRef;
use crate::state::{ForeignRouter, HostState, Segment, Station, Unseen};
use crate::vrrp::Advert;

/// Three questions are on the way by then.
const ARP: Duration = Duration::from_millis(1400);

/// Three adverts of a router with the usual interval of a second, and its skew time.
const LISTEN: Duration = Duration::from_millis(3400);

/// What is asked on one interface.
#[derive(Default)]
struct Question {
    vips: Vec<IpAddr>,
    ids: Vec<u8>,
}

/// Asks for the VIPs of these instances, and listens for their ids meanwhile, on all interfaces at once.
pub(crate) fn ask(root: &Root, state: &HostState, instances: &[String]) -> Segment {
    let mut questions: BTreeMap<&str, Question> = BTreeMap::new();
    let asked = state.instances.iter().filter(|i| instances.contains(&i.name));
    for InstanceRef {
        interface,
        virtual_router_id,
        vips,
        ..
    } in asked
    {
        let question = questions.entry(interface).or_default();
        question.ids.push(*virtual_router_id);
        question
            .vips
            .extend(vips.iter().filter_map(|vip| vip.parse::<IpAddr>().ok()));
    }
    let mut seen = Segment::default();
    std::thread::scope(|scope| {
        let asking: Vec<_> = questions
            .iter()
            .map(|(interface, question)| {
                let stations = scope.spawn(|| stations(root, interface, &question.vips));
                let routers = scope.spawn(|| routers(root, interface, question));
                (interface, stations, routers)
            })
            .collect();
        for (interface, stations, routers) in asking {
            let stations = joined(stations).map(|stations| seen.stations.extend(stations));
            let routers = joined(routers).map(|routers| seen.routers.extend(routers));
            if let Err(why) = stations.and(routers) {
                seen.unseen.push(Unseen {
                    interface: (*interface).to_owned(),
                    why: why.to_string(),
                });
            }
        }
    });
    seen
}

fn joined<T>(thread: ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn stations(root: &Root, name: &str, vips: &[IpAddr]) -> io::Result<Vec<Station>> {
    let wanted: Vec<Ipv4Addr> = vips
        .iter()
        .filter_map(|vip| match vip {
            IpAddr::V4(vip) => Some(*vip),
            IpAddr::V6(_) => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let interface = Interface::named(root, name)
        .ok_or_else(|| io::Error::other("it is down, has no link, or is no Ethernet interface"))?;
    // Without an address of our own in the question: it must not spoil the tables of the host that has the VIP.
    let answers = arp::who_have(root, interface, &wanted, Ipv4Addr::UNSPECIFIED, ARP)?;
    let station = |(vip, mac)| Station {
        vip: IpAddr::V4(vip),
        interface: name.to_owned(),
        mac,
    };
    Ok(answers.into_iter().map(station).collect())
}

/// Routers with an id or a VIP of ours.
fn routers(root: &Root, name: &str, question: &Question) -> io::Result<Vec<ForeignRouter>> {
    let wanted = |advert: &Advert| {
        question.ids.contains(&advert.vrid) || advert.addresses.iter().any(|a| question.vips.contains(a))
    };
    let heard = vrrp_listen::listen(root, name, LISTEN, wanted)?;
    let router = |(sender, advert): (IpAddr, Advert)| ForeignRouter {
        interface: name.to_owned(),
        sender,
        virtual_router_id: advert.vrid,
        priority: advert.priority,
        vips: advert.addresses,
    };
    let mut routers: Vec<ForeignRouter> = heard.into_iter().map(router).collect();
    routers.sort();
    routers.dedup();
    Ok(routers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_cannot_be_asked_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let state = HostState {
            instances: vec![InstanceRef {
                name: "VI_1".into(),
                interface: "bond0".into(),
                virtual_router_id: 51,
                priority: 100,
                vips: vec!["192.0.2.200".into()],
            }],
            ..HostState::default()
        };
        let root = Root::at(dir.path());
        let seen = ask(&root, &state, &["VI_1".to_owned()]);
        let why = "it is down, has no link, or is no Ethernet interface";
        assert_eq!(seen.unseen.len(), 1);
        assert_eq!(
            (seen.unseen[0].interface.as_str(), seen.unseen[0].why.as_str()),
            ("bond0", why)
        );
        assert_eq!(ask(&root, &state, &[]), Segment::default());
    }
}

//! Who else on the segment has our VIPs, or speaks with our `virtual_router_id`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::host::os::arp::{self, Interface};
use crate::host::os::root::Root;
use crate::host::os::vrrp_listen;
use crate::state::resource::InstanceRef;
use crate::state::{ForeignRouter, HostState, Segment, Station};

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

/// Asks for the VIPs of these instances, and listens for their ids meanwhile, on all interfaces at once. What an interface
/// cannot tell (it is down, say) is left out.
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
                (stations, routers)
            })
            .collect();
        for (stations, routers) in asking {
            seen.stations.extend(stations.join().unwrap_or_default());
            seen.routers.extend(routers.join().unwrap_or_default());
        }
    });
    seen
}

fn stations(root: &Root, name: &str, vips: &[IpAddr]) -> Vec<Station> {
    let wanted: Vec<Ipv4Addr> = vips
        .iter()
        .filter_map(|vip| match vip {
            IpAddr::V4(vip) => Some(*vip),
            IpAddr::V6(_) => None,
        })
        .collect();
    let Some(interface) = Interface::named(root, name).filter(|_| !wanted.is_empty()) else {
        return Vec::new();
    };
    // Without an address of our own in the question: it must not spoil the tables of the host that has the VIP.
    let answers = arp::who_have(root, interface, &wanted, Ipv4Addr::UNSPECIFIED, ARP).unwrap_or_default();
    let station = |(vip, mac)| Station {
        vip: IpAddr::V4(vip),
        interface: name.to_owned(),
        mac,
    };
    answers.into_iter().map(station).collect()
}

/// Routers with an id or a VIP of ours.
fn routers(root: &Root, name: &str, question: &Question) -> Vec<ForeignRouter> {
    let heard = vrrp_listen::listen(root, name, LISTEN).unwrap_or_default();
    let mut routers: Vec<ForeignRouter> = heard
        .into_iter()
        .filter(|(_, advert)| {
            question.ids.contains(&advert.vrid) || advert.addresses.iter().any(|a| question.vips.contains(a))
        })
        .map(|(sender, advert)| ForeignRouter {
            interface: name.to_owned(),
            sender,
            virtual_router_id: advert.vrid,
            priority: advert.priority,
            vips: advert.addresses,
        })
        .collect();
    routers.sort();
    routers.dedup();
    routers
}

//! What a reboot does for resources.

use crate::host::resource::kind::{Boot, Config};
use crate::host::resource::kinds;
use crate::host::resource::observed::Observed;
use crate::state::resource::Resource;

/// Whether something comes to be as desired only by a reboot.
pub fn needed(resources: &[&Resource], observed: &[Observed], config: Config) -> bool {
    boots(resources, observed, config).any(|boot| boot == Boot::Needed)
}

/// What the operator should know of something that no reboot brings about.
pub fn in_vain(resources: &[&Resource], observed: &[Observed], config: Config) -> Option<String> {
    boots(resources, observed, config).find_map(|boot| match boot {
        Boot::InVain(why) => Some(why),
        Boot::Needed | Boot::Useless => None,
    })
}

fn boots(resources: &[&Resource], observed: &[Observed], config: Config) -> impl Iterator<Item = Boot> {
    let pairs = resources.iter().zip(observed);
    pairs.map(move |(resource, observed)| kinds::of(&resource.spec).boot(observed, config))
}

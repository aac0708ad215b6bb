//! What resources are now.

use crate::host::observe::tools::Tools;
use crate::host::os::root::Root;
use crate::host::resource::kinds;
use crate::host::resource::observed::Observed;
use crate::state::resource::Resource;

/// Observes all of these; `rpm` and `systemctl` are asked at most once.
pub fn observe(root: &Root, resources: &[&Resource], tools: &mut Tools) -> Vec<Observed> {
    let mut packages = Vec::new();
    let mut units = Vec::new();
    for resource in resources {
        let questions = kinds::of(&resource.spec).questions();
        packages.extend(questions.packages);
        units.extend(questions.units);
    }
    tools.ask(root, &packages, &units);
    let one = |resource: &&Resource| kinds::of(&resource.spec).observe(root, tools);
    resources.iter().map(one).collect()
}

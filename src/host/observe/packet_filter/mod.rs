//! Whether the host's packet filter drops the peer's adverts.

mod iptables;
mod nft;
mod walk;

use std::time::Duration;

use crate::host::os::exec;
use crate::host::os::root::Root;
use crate::state::AdvertNeed;
use walk::{Advert, Fate};

/// A list of rules is read in milliseconds; one that takes longer is not waited for.
const LIMIT: Duration = Duration::from_secs(3);

/// The rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Of `iptables-save`.
    pub iptables: String,
    /// Of `nft list ruleset`.
    pub nft: String,
}

/// Which list of rules drops an advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropper {
    /// `iptables-save` shows it.
    Iptables,
    /// `nft list ruleset` shows it.
    Nft,
}

impl Rules {
    /// Asks both programs, if they are there.
    pub fn read(root: &Root) -> Rules {
        if !root.is_live() {
            return Rules::default();
        }
        let said = |program: &str, args: &[&str]| {
            let output = exec::which(&[program]).and_then(|program| exec::run(&program, args, LIMIT).ok());
            output.filter(exec::Output::ok).map(|o| o.stdout).unwrap_or_default()
        };
        std::thread::scope(|scope| {
            let nft = scope.spawn(|| said("nft", &["list", "ruleset"]));
            Rules {
                iptables: said("iptables-save", &[]),
                nft: nft.join().unwrap_or_default(),
            }
        })
    }

    /// Who certainly drops these adverts.
    pub fn dropper(&self, need: &AdvertNeed) -> Option<Dropper> {
        let advert = Advert {
            interface: &need.interface,
            from: need.from,
            to: need.to,
        };
        if iptables::fate(&self.iptables, advert) == Fate::Dropped {
            return Some(Dropper::Iptables);
        }
        (nft::fate(&self.nft, advert) == Fate::Dropped).then_some(Dropper::Nft)
    }
}

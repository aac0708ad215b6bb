//! The two hosts of a pair, told apart.

use std::ops::{Index, IndexMut};

/// One of the two hosts of a pair, in the order of the inventory. Whatever there is two of, one for each host, is indexed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The host that the inventory names first.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// Both, in the order of the inventory.
    pub const BOTH: [Side; 2] = [Side::First, Side::Second];

    /// The first host if `is_first`, else the second.
    pub fn first_if(is_first: bool) -> Side {
        if is_first { Side::First } else { Side::Second }
    }

    /// The peer.
    #[must_use]
    pub fn other(self) -> Side {
        match self {
            Side::First => Side::Second,
            Side::Second => Side::First,
        }
    }
}

impl<T> Index<Side> for [T; 2] {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        let [first, second] = self;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }
}

impl<T> IndexMut<Side> for [T; 2] {
    fn index_mut(&mut self, side: Side) -> &mut T {
        let [first, second] = self;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }
}

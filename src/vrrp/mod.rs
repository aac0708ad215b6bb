//! VRRP packet codec and state machine: no I/O, no clock.

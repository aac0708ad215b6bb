//! What a client sees through the VIP: HTTP, TCP, ARP.

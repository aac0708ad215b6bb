#![no_main]

#[path = "../body/bytes.rs"]
mod bytes;
#[path = "../body/packet.rs"]
mod packet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| packet::run(data));

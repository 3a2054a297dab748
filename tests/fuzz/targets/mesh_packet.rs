#![no_main]

use e2e::fuzz::Entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What is found is a panic.
    let _ = Entry::MeshPacket.feed(bytes);
});

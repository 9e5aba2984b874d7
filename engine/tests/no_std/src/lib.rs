//! A program without the standard library that contains the engine.
//!
//! It has a panic handler of its own. If anything in its tree of dependencies used `std`, there would be
//! two, and rustc would refuse: "found duplicate lang item `panic_impl`". It is built, never run.
//!
//! Unlike the rest of Switchboard, this crate has `unsafe` in it: `alloc` needs a global allocator, and
//! outside `std` that is an unsafe trait to implement, and an exported symbol an unsafe attribute.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::ptr;

use switchboard_engine::{ConnId, Event, Instant, Protocol, Server, ServerConfig, UserId};

/// An allocator that has nothing to give.
struct NoMemory;

// SAFETY: an allocator may refuse every request by returning null (`GlobalAlloc::alloc`); as it never hands
// out a block, there is none that `dealloc` could be given.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Drives a server through one turn, so that its code is linked. Returns the number of actions.
// SAFETY: no other symbol of this name is linked.
#[unsafe(no_mangle)]
pub extern "C" fn switchboard_engine_no_std() -> u32 {
    let mut server = Server::new(ServerConfig::default(), 0, Instant::ZERO);
    let Ok(user) = UserId::new("alice") else { return 0 };
    server.handle(Instant::ZERO, Event::Connected { conn: ConnId::new(0, 1), user, protocol: Protocol::Classic });
    server.handle_timeout(Instant::ZERO);
    let mut actions = 0;
    while server.poll_action().is_some() {
        actions += 1;
    }
    actions
}

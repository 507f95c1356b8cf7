//! The heap of the fuzz targets, with a limit on what one input may add to it.

use std::alloc::System;
use std::sync::Once;

use cap::Cap;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// What a parser may hold whatever its input: buffers of a fixed size, and what is made once.
pub const PARSER: usize = 64 << 10;

/// The target of a parser, which may hold so many bytes for every byte of input.
#[macro_export]
macro_rules! parser {
    ($each:expr, $target:path) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::within($crate::PARSER + $each * data.len(), || $target(data));
        });
    };
}

/// The target of something with limits of its own, which bound what it holds by a constant.
#[macro_export]
macro_rules! stateful {
    ($most:expr, $target:path) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::within($most, || $target(data)));
    };
}

/// Runs something that may let the heap grow by so many bytes. An allocation over that ends the process, which is a finding.
pub fn within(bytes: usize, run: impl FnOnce()) {
    static HOOK: Once = Once::new();
    // Telling of a panic takes what it takes.
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            limit(usize::MAX);
            tell(panic);
        }));
    });
    let before = HEAP.limit();
    limit(HEAP.allocated() + bytes);
    run();
    limit(before);
}

fn limit(bytes: usize) {
    HEAP.set_limit(bytes)
        .expect("more is in use than the limit");
}

//! Has what waits done at once: there is nothing here that would have to be waited for.

use tokio::runtime::{Builder, Runtime};

std::thread_local! {
    static RUNTIME: Runtime = match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    };
}

pub(crate) fn done<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

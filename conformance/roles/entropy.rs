//! What a runtime gives of the system's entropy. One text for all runtimes of computers, which include it as their tests.

use adit::host::entropy::{entropy, jitter};

use crate::testing::Here;

#[test]
fn two_calls_differ() {
    assert_ne!(entropy::<Here>().unwrap(), entropy::<Here>().unwrap());
    assert_ne!(jitter::<Here>().unwrap(), jitter::<Here>().unwrap());
}

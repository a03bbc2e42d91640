//! The tests that need a real control plane live in `tests/it`, one test program. This library is empty: a package needs a target.

//! From a delivered block to a committed one.

//! The attributes and derives as authors use them.

mod bank;
mod contract;
mod key;

//! A channel this peer has joined.

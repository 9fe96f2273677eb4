//! Networks of a host: which addresses are free, and who uses what.

pub mod next_ip;

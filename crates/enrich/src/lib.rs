//! What is known of an address beyond its traffic: where it is, whose network it is in, and what reputation lists say.

#![forbid(unsafe_code)]

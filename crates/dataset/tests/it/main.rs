//! The crate seen from outside, one module a subject.

mod anonymise;
mod common;
mod document;
mod parts;
mod shared;
mod tables;
mod transforms;

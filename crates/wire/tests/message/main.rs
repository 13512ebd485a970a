//! Tests of the message parsers, in one program.

mod dns;
mod feed;

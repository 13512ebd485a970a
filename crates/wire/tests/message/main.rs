//! Tests of the message parsers, in one program.

mod app;
mod arp;
mod dhcp;
mod dns;
mod feed;
mod ftp;
mod http;
mod modbus;
mod seeds;
mod tls;

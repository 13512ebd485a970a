//! Tests of the message parsers, in one program.

mod app;
mod arp;
mod dcerpc;
mod dhcp;
mod dns;
mod feed;
mod ftp;
mod http;
mod kerberos;
mod modbus;
mod seeds;
mod smb;
mod ssh;
mod tls;

//! What is known of addresses, from the outside: files, lists and services as they are in the field.

mod databases;
mod lists;
mod service;
mod support;
mod table;
mod web;

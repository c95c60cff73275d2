//! `bench container run` between its caller and its command: a session and a terminal of the container's own, streams that are no files of
//! the host, signals, the end of whole trees, and the words that people type after using docker.

mod depth;
mod signals;
mod streams;
mod terminals;
mod words;

#[path = "../support/mod.rs"]
mod support;

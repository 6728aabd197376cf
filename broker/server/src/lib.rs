//! Event loops, listeners and transports around the engine.
#![forbid(unsafe_code)]

//! Numbers in, model versions out: no sockets, no wall clock, no async runtime.

//! The command line as a user meets it: the real binary, its two streams and its exit codes.

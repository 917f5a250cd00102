//! What the programs share and what needs no system call: the command line, the log lines, the
//! demo, the deadlines behind one timer.

pub mod alarms;
pub mod args;
pub mod demo;
pub mod explain;
pub mod faults;
pub mod log;
pub mod program;

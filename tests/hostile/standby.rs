//! A hostile standby against a source's daemon.

//! `cscc`: joining channels and asking for their configuration.
//!
//! Functions that change a channel come in blocks, never here.

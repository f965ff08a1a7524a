//! Stage one of validation: signatures and endorsement policies.

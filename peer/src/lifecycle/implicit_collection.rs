//! The collection every organization has without defining it; approvals live there.

const PREFIX: &str = "_implicit_org_";

/// The implicit collection of an organization.
pub fn name_of(msp_id: &str) -> String {
    format!("{PREFIX}{msp_id}")
}

/// Whose implicit collection this is, if it is one.
pub fn msp_id_of(collection: &str) -> Option<&str> {
    collection.strip_prefix(PREFIX)
}

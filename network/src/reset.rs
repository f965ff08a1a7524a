//! `network reset`: stops the network and deletes its folder.

use serde_json::json;

use crate::down;
use crate::folder::Folder;
use crate::output::say;

/// Deletes the network in `folder`, and never a folder that is not one of ours.
pub(crate) async fn reset(folder: &Folder, json: bool) -> anyhow::Result<()> {
    // What the folder holds need not be readable to be deleted, only marked as ours.
    let deleted = folder.is_ours();
    if deleted {
        down::stop(folder).await?;
        folder.clear()?;
    } else {
        // Refuses a folder of somebody else.
        folder.look()?;
    }
    if json {
        return say(&json!({ "deleted": deleted }));
    }
    let path = folder.path().display();
    say(&if deleted { format!("deleted {path}") } else { format!("there is no network in {path}") })
}

//! `basic`: assets with an owner, one key each.
//!
//! Functions, arguments, stored JSON, results and error texts are those of Fabric's
//! asset-transfer-basic in TypeScript, so that applications written for it run unchanged.
//! As in asset-transfer-events, each change also sets an event: the function's name, and
//! the asset's JSON.

mod asset;
mod number;

use asset::Asset;
use number::Number;
use ripstop_chaincode_sdk::{Bytes, Failure, Raw, Stub, View, contract};

/// The contract of the sample `basic`.
///
/// ```
/// use ripstop_chaincode_sdk::{Server, ServerSettings};
/// use ripstop_samples::Basic;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = ServerSettings { address: "127.0.0.1:0".into(), package_id: "basic_1.0:ab12".into(), tls: None };
/// # let shutdown = async {};
/// # /*
/// let shutdown = ripstop_chaincode_sdk::interrupted();
/// # */
/// Server::new(settings, Basic).run(shutdown).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Basic;

#[contract(name = "AssetTransferContract", version = "1.0", rename_all = "PascalCase")]
impl Basic {
    /// Stores six assets.
    #[submit]
    async fn init_ledger(&self, stub: &Stub) -> Result<(), Failure> {
        const ASSETS: [(&str, &str, f64, &str, f64); 6] = [
            ("asset1", "blue", 5.0, "Tomoko", 300.0),
            ("asset2", "red", 5.0, "Brad", 400.0),
            ("asset3", "green", 10.0, "Jin Soo", 500.0),
            ("asset4", "yellow", 10.0, "Max", 600.0),
            ("asset5", "black", 15.0, "Adriana", 700.0),
            ("asset6", "white", 15.0, "Michel", 800.0),
        ];
        for (id, color, size, owner, value) in ASSETS {
            let asset = Asset::new(id, color, Number(size), owner, Number(value)).with("docType", "asset");
            stub.put_state(id, asset.to_json()).await?;
        }
        Ok(())
    }

    #[submit]
    async fn create_asset(
        &self,
        stub: &Stub,
        id: String,
        color: String,
        size: Number,
        owner: String,
        appraised_value: Number,
    ) -> Result<(), Failure> {
        if stub.get_state(&id).await?.is_some() {
            return Err(Failure::new(format!("The asset {id} already exists")));
        }
        store(stub, "CreateAsset", &id, &Asset::new(&id, &color, size, &owner, appraised_value)).await
    }

    #[query]
    async fn read_asset(&self, view: &View, id: String) -> Result<Raw, Failure> {
        stored(view, &id).await.map(Raw)
    }

    #[submit]
    async fn update_asset(
        &self,
        stub: &Stub,
        id: String,
        color: String,
        size: Number,
        owner: String,
        appraised_value: Number,
    ) -> Result<(), Failure> {
        stored(stub, &id).await?;
        store(stub, "UpdateAsset", &id, &Asset::new(&id, &color, size, &owner, appraised_value)).await
    }

    #[submit]
    async fn delete_asset(&self, stub: &Stub, id: String) -> Result<(), Failure> {
        let last = stored(stub, &id).await?;
        stub.delete_state(&id).await?;
        stub.set_event("DeleteAsset", last)?;
        Ok(())
    }

    #[query]
    async fn asset_exists(&self, view: &View, id: String) -> Result<bool, Failure> {
        Ok(view.get_state(&id).await?.is_some())
    }

    /// Returns the old owner.
    #[submit]
    async fn transfer_asset(&self, stub: &Stub, id: String, new_owner: String) -> Result<String, Failure> {
        let mut asset = Asset::from_json(&stored(stub, &id).await?)?;
        let old_owner = asset.replace_owner(new_owner);
        store(stub, "TransferAsset", &id, &asset).await?;
        Ok(old_owner)
    }

    /// A JSON list of all assets, in the order of their keys.
    #[query]
    async fn get_all_assets(&self, view: &View) -> Result<String, Failure> {
        let mut list = String::from("[");
        let mut range = view.get_state_by_range("", "").await?;
        while let Some(entry) = range.next().await? {
            if list.len() > 1 {
                list.push(',');
            }
            list.push_str(&asset::list_item(&entry.value));
        }
        list.push(']');
        Ok(list)
    }
}

async fn stored(view: &View, id: &str) -> Result<Bytes, Failure> {
    view.get_state(id).await?.ok_or_else(|| Failure::new(format!("The asset {id} does not exist")))
}

async fn store(stub: &Stub, event: &str, id: &str, asset: &Asset) -> Result<(), Failure> {
    let json = Bytes::from(asset.to_json());
    stub.put_state(id, json.clone()).await?;
    stub.set_event(event, json)?;
    Ok(())
}

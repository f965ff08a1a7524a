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
use ripstop_chaincode_sdk::{Answer, Bytes, Contract, Failure, Response, Stub};

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

impl Contract for Basic {
    fn name(&self) -> &str {
        "AssetTransferContract"
    }

    async fn invoke(&self, stub: &Stub) -> Result<Response, Failure> {
        match stub.function() {
            "InitLedger" => init_ledger(stub, stub.parameters()?).await.answer(),
            "CreateAsset" => create_asset(stub, stub.parameters()?).await.answer(),
            "ReadAsset" => read_asset(stub, stub.parameters()?).await.answer(),
            "UpdateAsset" => update_asset(stub, stub.parameters()?).await.answer(),
            "DeleteAsset" => delete_asset(stub, stub.parameters()?).await.answer(),
            "AssetExists" => asset_exists(stub, stub.parameters()?).await.answer(),
            "TransferAsset" => transfer_asset(stub, stub.parameters()?).await.answer(),
            "GetAllAssets" => get_all_assets(stub, stub.parameters()?).await.answer(),
            // What a contract of Fabric's contract API answers to a call of nothing.
            "" if stub.args().is_empty() => Ok::<_, Failure>("Default initiator successful.").answer(),
            _ => Err(Failure::unknown_function(stub)),
        }
    }
}

/// What CreateAsset and UpdateAsset are called with: id, color, size, owner, appraised value.
type AssetParameters = (String, String, Number, String, Number);

async fn init_ledger(stub: &Stub, (): ()) -> Result<(), Failure> {
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

async fn create_asset(stub: &Stub, (id, color, size, owner, value): AssetParameters) -> Result<(), Failure> {
    if asset_exists(stub, id.clone()).await? {
        return Err(Failure::new(format!("The asset {id} already exists")));
    }
    store(stub, "CreateAsset", &id, &Asset::new(&id, &color, size, &owner, value)).await
}

async fn read_asset(stub: &Stub, id: String) -> Result<Bytes, Failure> {
    stub.get_state(&id).await?.ok_or_else(|| does_not_exist(&id))
}

async fn update_asset(stub: &Stub, (id, color, size, owner, value): AssetParameters) -> Result<(), Failure> {
    if !asset_exists(stub, id.clone()).await? {
        return Err(does_not_exist(&id));
    }
    store(stub, "UpdateAsset", &id, &Asset::new(&id, &color, size, &owner, value)).await
}

async fn delete_asset(stub: &Stub, id: String) -> Result<(), Failure> {
    let last = read_asset(stub, id.clone()).await?;
    stub.delete_state(&id).await?;
    stub.set_event("DeleteAsset", last)?;
    Ok(())
}

async fn asset_exists(stub: &Stub, id: String) -> Result<bool, Failure> {
    Ok(stub.get_state(&id).await?.is_some())
}

/// Returns the old owner.
async fn transfer_asset(stub: &Stub, (id, new_owner): (String, String)) -> Result<String, Failure> {
    let mut asset = Asset::from_json(&read_asset(stub, id.clone()).await?)?;
    let old_owner = asset.replace_owner(new_owner);
    store(stub, "TransferAsset", &id, &asset).await?;
    Ok(old_owner)
}

/// A JSON list of all assets, in the order of their keys.
async fn get_all_assets(stub: &Stub, (): ()) -> Result<String, Failure> {
    let mut list = String::from("[");
    let mut range = stub.get_state_by_range("", "").await?;
    while let Some(entry) = range.next().await? {
        if list.len() > 1 {
            list.push(',');
        }
        list.push_str(&asset::list_item(&entry.value));
    }
    list.push(']');
    Ok(list)
}

async fn store(stub: &Stub, event: &str, id: &str, asset: &Asset) -> Result<(), Failure> {
    let json = Bytes::from(asset.to_json());
    stub.put_state(id, json.clone()).await?;
    stub.set_event(event, json)?;
    Ok(())
}

fn does_not_exist(id: &str) -> Failure {
    Failure::new(format!("The asset {id} does not exist"))
}

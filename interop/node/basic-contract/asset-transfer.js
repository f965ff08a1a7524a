'use strict';
// Assets that are created, read, updated, transferred and deleted: the functions,
// arguments and JSON of Fabric's asset-transfer-basic sample. Each change of one asset
// also sets an event as asset-transfer-events does: its name is the function's, its
// payload the asset's JSON (of the deleted asset, as it was).

const { Contract } = require('fabric-contract-api');

const INITIAL_ASSETS = [
  { ID: 'asset1', Color: 'blue', Size: 5, Owner: 'Tomoko', AppraisedValue: 300 },
  { ID: 'asset2', Color: 'red', Size: 5, Owner: 'Brad', AppraisedValue: 400 },
  { ID: 'asset3', Color: 'green', Size: 10, Owner: 'Jin Soo', AppraisedValue: 500 },
  { ID: 'asset4', Color: 'yellow', Size: 10, Owner: 'Max', AppraisedValue: 600 },
  { ID: 'asset5', Color: 'black', Size: 15, Owner: 'Adriana', AppraisedValue: 700 },
  { ID: 'asset6', Color: 'white', Size: 15, Owner: 'Michel', AppraisedValue: 800 },
];

class AssetTransfer extends Contract {
  async InitLedger(ctx) {
    for (const asset of INITIAL_ASSETS) {
      await ctx.stub.putState(asset.ID, assetJson({ ...asset, docType: 'asset' }));
    }
  }

  async CreateAsset(ctx, id, color, size, owner, appraisedValue) {
    if (await this.AssetExists(ctx, id)) {
      throw new Error(`The asset ${id} already exists`);
    }
    const asset = newAsset(id, color, size, owner, appraisedValue);
    await write(ctx, 'CreateAsset', asset);
    return JSON.stringify(asset);
  }

  async ReadAsset(ctx, id) {
    const json = await ctx.stub.getState(id);
    if (json.length === 0) {
      throw new Error(`The asset ${id} does not exist`);
    }
    return json.toString();
  }

  async UpdateAsset(ctx, id, color, size, owner, appraisedValue) {
    if (!(await this.AssetExists(ctx, id))) {
      throw new Error(`The asset ${id} does not exist`);
    }
    await write(ctx, 'UpdateAsset', newAsset(id, color, size, owner, appraisedValue));
  }

  async DeleteAsset(ctx, id) {
    const json = await this.ReadAsset(ctx, id);
    ctx.stub.setEvent('DeleteAsset', Buffer.from(json));
    await ctx.stub.deleteState(id);
  }

  async AssetExists(ctx, id) {
    const json = await ctx.stub.getState(id);
    return json.length > 0;
  }

  // Returns the former owner.
  async TransferAsset(ctx, id, newOwner) {
    const asset = JSON.parse(await this.ReadAsset(ctx, id));
    const oldOwner = asset.Owner;
    asset.Owner = newOwner;
    await write(ctx, 'TransferAsset', asset);
    return oldOwner;
  }

  async GetAllAssets(ctx) {
    const assets = [];
    for await (const { value } of ctx.stub.getStateByRange('', '')) {
      assets.push(JSON.parse(Buffer.from(value).toString()));
    }
    return JSON.stringify(assets);
  }
}

function newAsset(id, color, size, owner, appraisedValue) {
  return { ID: id, Color: color, Size: Number(size), Owner: owner, AppraisedValue: Number(appraisedValue) };
}

async function write(ctx, event, asset) {
  const json = assetJson(asset);
  ctx.stub.setEvent(event, json);
  await ctx.stub.putState(asset.ID, json);
}

// Keys in alphabetical order: every endorser and every language writes the same bytes.
function assetJson(asset) {
  return Buffer.from(JSON.stringify(asset, Object.keys(asset).sort()));
}

module.exports = AssetTransfer;

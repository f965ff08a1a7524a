'use strict';
// The steps of Fabric's asset-transfer-basic and asset-transfer-events applications, with
// the unmodified SDK and with every outcome checked.
//
//   node asset-transfer.js
//
// Environment: CRYPTO_PATH, KEY_DIRECTORY_PATH, CERT_DIRECTORY_PATH, TLS_CERT_PATH,
// PEER_ENDPOINT, PEER_HOST_ALIAS, MSP_ID, CHANNEL_NAME, CHAINCODE_NAME (see
// connection.js); VERBOSE=1 prints stack traces. One line per step; exit code 0 when all
// passed, 1 with a text on stderr when one failed. It may run any number of times, also
// beside others, on one channel.

const assert = require('node:assert/strict');
const grpc = require('@grpc/grpc-js');
const { EndorseError, GatewayError, StatusCode } = require('@hyperledger/fabric-gateway');
const { eventSteps } = require('./asset-events');
const { INITIAL_ASSETS, assetJson, text } = require('./assets');
const connection = require('./connection');
const { run, step } = require('./steps');

const RUN = `${Date.now()}-${process.pid}`;
const ASSET_ID = `asset${RUN}`;
const MISSING_ID = `missing${RUN}`;

async function initLedger({ contract }) {
  assert.equal(text(await contract.submitTransaction('InitLedger')), '', 'InitLedger returns nothing');
}

// The Go contract leaves docType out, the JavaScript and TypeScript ones write it.
async function getAllAssets({ contract }) {
  const json = text(await contract.evaluateTransaction('GetAllAssets'));
  const assets = JSON.parse(json);
  const withSortedKeys = assets.map((asset) => JSON.parse(JSON.stringify(asset, Object.keys(asset).sort())));
  assert.equal(json, JSON.stringify(withSortedKeys), 'keys in alphabetical order, no spaces');
  const ids = assets.map(({ ID }) => ID);
  assert.deepEqual(ids, ids.toSorted(byUtf8), 'assets in the order of their keys');
  for (const expected of INITIAL_ASSETS) {
    const { docType = 'asset', ...found } = assets.find(({ ID }) => ID === expected.ID) ?? {};
    assert.deepEqual(found, expected);
    assert.equal(docType, 'asset');
  }
  return `${assets.length} assets`;
}

function byUtf8(left, right) {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

// The Go and TypeScript contracts return nothing, the JavaScript one the asset.
async function createAsset({ contract }) {
  const result = text(await contract.submitTransaction('CreateAsset', ASSET_ID, 'yellow', '5', 'Tom', '1300'));
  if (result !== '') {
    assert.deepEqual(JSON.parse(result), JSON.parse(assetJson(ASSET_ID, 'yellow', 5, 'Tom', 1300)));
  }
  await assertStored(contract, assetJson(ASSET_ID, 'yellow', 5, 'Tom', 1300));
  return ASSET_ID;
}

async function assertStored(contract, expected) {
  const { ID: id } = JSON.parse(expected);
  assert.equal(text(await contract.evaluateTransaction('ReadAsset', id)), expected);
}

async function createAssetAgain({ contract }) {
  const submitted = contract.submitTransaction('CreateAsset', ASSET_ID, 'red', '1', 'Ann', '1');
  await assertRefusedByContract(submitted, `asset ${ASSET_ID} already exists`);
}

async function transferAsset({ contract }) {
  const commit = await contract.submitAsync('TransferAsset', { arguments: [ASSET_ID, 'Saptha'] });
  assert.equal(text(commit.getResult()), 'Tom', 'the result is there before the commit');
  assert.match(commit.getTransactionId(), /^[0-9a-f]{64}$/);
  const status = await commit.getStatus();
  assert.deepEqual(
    { code: status.code, successful: status.successful, transactionId: status.transactionId },
    { code: StatusCode.VALID, successful: true, transactionId: commit.getTransactionId() },
  );
  assert.ok(status.blockNumber > 0n, `block ${status.blockNumber}`);
  return `committed in block ${status.blockNumber}`;
}

async function readAsset({ contract }) {
  await assertStored(contract, assetJson(ASSET_ID, 'yellow', 5, 'Saptha', 1300));
}

async function updateAsset({ contract }) {
  await contract.submitTransaction('UpdateAsset', ASSET_ID, 'green', '7', 'Zoë ✓', '1500');
  await assertStored(contract, assetJson(ASSET_ID, 'green', 7, 'Zoë ✓', 1500));
}

async function assetExists({ contract }) {
  assert.equal(text(await contract.evaluateTransaction('AssetExists', ASSET_ID)), 'true');
  assert.equal(text(await contract.evaluateTransaction('AssetExists', MISSING_ID)), 'false');
}

async function updateMissingAsset({ contract }) {
  const submitted = contract.submitTransaction('UpdateAsset', MISSING_ID, 'blue', '5', 'Tomoko', '300');
  return assertRefusedByContract(submitted, `asset ${MISSING_ID} does not exist`);
}

/** Asserts that the endorsement failed with the contract's own text, and says who gave it. */
async function assertRefusedByContract(submitted, reason) {
  const error = await rejected(submitted);
  assert.ok(error instanceof EndorseError, `an EndorseError, not ${error}`);
  assert.equal(error.code, grpc.status.ABORTED, 'code ABORTED');
  assert.equal(error.cause.details, 'failed to endorse transaction, see attached details for more info');
  assert.match(error.transactionId, /^[0-9a-f]{64}$/);
  assert.ok(error.details.length > 0, 'details are attached');
  error.details.forEach((detail) => assertDetail(detail, reason));
  return `${error.details[0].mspId} at ${error.details[0].address}: ${error.details[0].message}`;
}

// Contracts differ in the first word: "The asset …" in JavaScript, "the asset …" in Go.
function assertDetail({ address, mspId, message }, reason) {
  assert.match(address, /^[^:\s]+:\d+$/, 'the address of the endorser as host:port');
  assert.match(mspId, /^\S+$/, 'the MSP id of the endorser');
  assertContains(message, reason);
  assert.ok(message.startsWith('chaincode response 500, '), message);
}

function assertContains(message, part) {
  assert.ok(message.includes(part), `"${part}" is expected in "${message}"`);
}

async function rejected(promise) {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  assert.ok(outcome.error, `an error is expected, not the result ${JSON.stringify(outcome.value)}`);
  return outcome.error;
}

async function readMissingAsset({ contract }) {
  const error = await rejected(contract.evaluateTransaction('ReadAsset', MISSING_ID));
  assert.ok(error instanceof GatewayError, `a GatewayError, not ${error}`);
  assert.equal(error.code, grpc.status.UNKNOWN, 'code UNKNOWN');
  assertContains(error.message, 'evaluate call to endorser returned error: chaincode response 500, ');
  assertContains(error.message, `asset ${MISSING_ID} does not exist`);
  assert.equal(error.details.length, 1);
  assertDetail(error.details[0], `asset ${MISSING_ID} does not exist`);
}

/** Two transfers of one asset, both endorsed before either is ordered: one of them wins. */
async function conflictingTransfers({ contract }) {
  const endorse = (owner) => contract.newProposal('TransferAsset', { arguments: [ASSET_ID, owner] }).endorse();
  const transactions = await Promise.all(['Ann', 'Ben'].map(endorse));
  const commits = await Promise.all(transactions.map((transaction) => transaction.submit()));
  const statuses = await Promise.all(commits.map((commit) => commit.getStatus()));
  const codes = statuses.map(({ code }) => code).sort((left, right) => left - right);
  assert.deepEqual(codes, [StatusCode.VALID, StatusCode.MVCC_READ_CONFLICT]);
  const winner = statuses[0].successful ? 'Ann' : 'Ben';
  await assertStored(contract, assetJson(ASSET_ID, 'green', 7, winner, 1500));
  return `${winner} won`;
}

async function deleteAsset({ contract }) {
  await contract.submitTransaction('DeleteAsset', ASSET_ID);
  assert.equal(text(await contract.evaluateTransaction('AssetExists', ASSET_ID)), 'false');
}

async function main() {
  const connected = await connection.open();
  try {
    await step('InitLedger is submitted', () => initLedger(connected));
    await step('GetAllAssets returns the initial assets', () => getAllAssets(connected));
    await step('CreateAsset creates an asset', () => createAsset(connected));
    await step('CreateAsset refuses an id that exists', () => createAssetAgain(connected));
    await step('TransferAsset is submitted asynchronously', () => transferAsset(connected));
    await step('ReadAsset returns the new owner', () => readAsset(connected));
    await step('UpdateAsset updates the asset', () => updateAsset(connected));
    await step('AssetExists tells what exists', () => assetExists(connected));
    await step('UpdateAsset of a missing asset is refused with details', () => updateMissingAsset(connected));
    await step('ReadAsset of a missing asset is refused', () => readMissingAsset(connected));
    await step('Of two conflicting transfers one is valid', () => conflictingTransfers(connected));
    await step('DeleteAsset deletes the asset', () => deleteAsset(connected));
    await eventSteps(connected, RUN);
    console.log('all steps passed');
  } finally {
    connected.close();
  }
}

run(main);

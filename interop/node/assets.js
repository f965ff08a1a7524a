'use strict';
// What the contract stores and returns, as text.

/** The assets that InitLedger writes. */
const INITIAL_ASSETS = [
  { AppraisedValue: 300, Color: 'blue', ID: 'asset1', Owner: 'Tomoko', Size: 5 },
  { AppraisedValue: 400, Color: 'red', ID: 'asset2', Owner: 'Brad', Size: 5 },
  { AppraisedValue: 500, Color: 'green', ID: 'asset3', Owner: 'Jin Soo', Size: 10 },
  { AppraisedValue: 600, Color: 'yellow', ID: 'asset4', Owner: 'Max', Size: 10 },
  { AppraisedValue: 700, Color: 'black', ID: 'asset5', Owner: 'Adriana', Size: 15 },
  { AppraisedValue: 800, Color: 'white', ID: 'asset6', Owner: 'Michel', Size: 15 },
];

function text(bytes) {
  return Buffer.from(bytes).toString('utf8');
}

/** The JSON text of an asset as every contract writes it: keys in alphabetical order. */
function assetJson(id, color, size, owner, appraisedValue) {
  return JSON.stringify({ AppraisedValue: appraisedValue, Color: color, ID: id, Owner: owner, Size: size });
}

module.exports = { INITIAL_ASSETS, assetJson, text };

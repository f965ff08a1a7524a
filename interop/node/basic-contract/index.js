'use strict';
// `main` of package.json: fabric-shim loads the classes listed here.

const AssetTransfer = require('./asset-transfer');

module.exports.contracts = [AssetTransfer];

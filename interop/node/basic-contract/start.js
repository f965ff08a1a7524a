#!/usr/bin/env node
'use strict';
// Runs the contract in this process, with the command line program of fabric-shim.
//
// As a service that peers dial:
//   CHAINCODE_SERVER_ADDRESS=127.0.0.1:9999 CHAINCODE_ID=basic_1.0:… node start.js
//   with TLS also CHAINCODE_TLS_KEY, CHAINCODE_TLS_CERT and, to ask peers for a
//   certificate, CHAINCODE_CLIENT_CA_CERT (PEM files)
// As a child of a peer, which sets CORE_PEER_ADDRESS and CORE_CHAINCODE_ID_NAME:
//   node start.js

const environment = process.env;

function required(name) {
  if (!environment[name]) {
    console.error(`${name} is not set; see the head of ${__filename}`);
    process.exit(2);
  }
  return environment[name];
}

function serverArguments() {
  const tls = {
    '--chaincode-tls-key-file': environment.CHAINCODE_TLS_KEY,
    '--chaincode-tls-cert-file': environment.CHAINCODE_TLS_CERT,
    '--chaincode-tls-client-cacert-file': environment.CHAINCODE_CLIENT_CA_CERT,
  };
  const given = Object.entries(tls).filter(([, file]) => file);
  return [
    'server',
    '--chaincode-address',
    required('CHAINCODE_SERVER_ADDRESS'),
    '--chaincode-id',
    required('CHAINCODE_ID'),
    ...given.flat(),
  ];
}

function childArguments() {
  return [
    'start',
    '--peer.address',
    required('CORE_PEER_ADDRESS'),
    '--chaincode-id-name',
    required('CORE_CHAINCODE_ID_NAME'),
  ];
}

const asChild = environment.CORE_PEER_ADDRESS && !environment.CHAINCODE_SERVER_ADDRESS;
const chosen = asChild ? childArguments() : serverArguments();
process.argv.splice(2, process.argv.length, ...chosen, '--module-path', __dirname);
require('fabric-shim/cli');

'use strict';
// A gateway connection from environment variables, named and defaulted as in the
// application of Fabric's asset-transfer-basic sample. Only CRYPTO_PATH's default is
// Ripstop's: the directory that `ripstop network up` makes.

const crypto = require('node:crypto');
const fs = require('node:fs/promises');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const { connect, hash, signers } = require('@hyperledger/fabric-gateway');

function settings(environment = process.env) {
  const choose = (name, standard) => environment[name] || standard;
  const cryptoPath = choose(
    'CRYPTO_PATH',
    path.resolve('ripstop-network', 'organizations', 'peerOrganizations', 'org1.example.com'),
  );
  const userMsp = path.resolve(cryptoPath, 'users', 'User1@org1.example.com', 'msp');
  return {
    channelName: choose('CHANNEL_NAME', 'mychannel'),
    chaincodeName: choose('CHAINCODE_NAME', 'basic'),
    mspId: choose('MSP_ID', 'Org1MSP'),
    keyDirectoryPath: choose('KEY_DIRECTORY_PATH', path.resolve(userMsp, 'keystore')),
    certDirectoryPath: choose('CERT_DIRECTORY_PATH', path.resolve(userMsp, 'signcerts')),
    tlsCertPath: choose(
      'TLS_CERT_PATH',
      path.resolve(cryptoPath, 'peers', 'peer0.org1.example.com', 'tls', 'ca.crt'),
    ),
    peerEndpoint: choose('PEER_ENDPOINT', 'localhost:7051'),
    peerHostAlias: choose('PEER_HOST_ALIAS', 'peer0.org1.example.com'),
  };
}

async function firstFile(directory) {
  const files = await fs.readdir(directory);
  if (files.length === 0) {
    throw new Error(`no file in ${directory}`);
  }
  return fs.readFile(path.join(directory, files[0]));
}

function within(milliseconds) {
  return () => ({ deadline: Date.now() + milliseconds });
}

/** Connects as the settings say; `close` ends the connection. */
async function open(chosen = settings()) {
  const privateKey = crypto.createPrivateKey(await firstFile(chosen.keyDirectoryPath));
  const credentials = await firstFile(chosen.certDirectoryPath);
  const tlsCredentials = grpc.credentials.createSsl(await fs.readFile(chosen.tlsCertPath));
  const client = new grpc.Client(chosen.peerEndpoint, tlsCredentials, {
    'grpc.ssl_target_name_override': chosen.peerHostAlias,
  });
  const gateway = connect({
    client,
    identity: { mspId: chosen.mspId, credentials },
    signer: signers.newPrivateKeySigner(privateKey),
    // Ed25519 signs the message itself.
    hash: privateKey.asymmetricKeyType === 'ed25519' ? hash.none : hash.sha256,
    evaluateOptions: within(5_000),
    endorseOptions: within(15_000),
    submitOptions: within(5_000),
    commitStatusOptions: within(60_000),
  });
  const network = gateway.getNetwork(chosen.channelName);
  return {
    network,
    contract: network.getContract(chosen.chaincodeName),
    chaincodeName: chosen.chaincodeName,
    close() {
      gateway.close();
      client.close();
    },
  };
}

module.exports = { open, settings };

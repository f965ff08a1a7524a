'use strict';
// Verifies the trie proof in files that `ripstop state --prove` wrote, with Ethereum's own
// library. Path and leaf are computed here, from nothing but the file's fields; the peers'
// signatures over the roots are not looked at (`ripstop verify-proof` does that).
//
//   node verify-state-proof.js FILE…
//
// One line per file: "proved FILE" or "refused FILE: REASON". Exit code 0: all are proved;
// 1: some are not; 2: wrong usage or no such file.

const fs = require('node:fs');
const { verifyMerkleProof } = require('@ethereumjs/mpt');
const { RLP } = require('@ethereumjs/rlp');
const { keccak_256: keccak256 } = require('@noble/hashes/sha3');
const { BinaryReader } = require('google-protobuf');

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));

/** Field 5 of ripstop.v1.BlockRoots, with the fields that say whose it is. */
function readRoots(blockRoots) {
  const roots = {};
  const reader = new BinaryReader(blockRoots);
  while (reader.nextField()) {
    switch (reader.getFieldNumber()) {
      case 1:
        roots.channel = reader.readString();
        break;
      case 2:
        roots.block = reader.readUint64();
        break;
      case 5:
        roots.stateRoot = reader.readBytes();
        break;
      default:
        reader.skipField();
    }
  }
  return roots;
}

/** Keccak-256 of namespace, zero byte, key. */
function statePath({ namespace, key }) {
  return keccak256(Buffer.concat([Buffer.from(namespace), Buffer.from([0]), Buffer.from(key)]));
}

/** RLP of block, index, Keccak-256 of the value, Keccak-256 of the metadata or nothing. */
function stateLeaf({ version: [block, index], value, metadata }) {
  const metadataHash = metadata === null ? new Uint8Array() : keccak256(bytes(metadata));
  return RLP.encode([block, index, keccak256(bytes(value)), metadataHash]);
}

async function verify(proof) {
  const { channel, block, stateRoot } = readRoots(bytes(proof.block_roots));
  if (channel !== proof.channel || block !== proof.block) {
    throw new Error(`the roots are those of block ${block} of ${channel}`);
  }
  const found = await verifyMerkleProof(statePath(proof), proof.nodes.map(bytes), { root: stateRoot });
  const expected = proof.value === null ? null : stateLeaf(proof);
  if (Buffer.compare(found ?? Buffer.alloc(0), expected ?? Buffer.alloc(0)) !== 0) {
    throw new Error('the leaf is not that of version, value and metadata');
  }
}

async function main(files) {
  if (files.length === 0) {
    throw new Error('usage: node verify-state-proof.js FILE…');
  }
  for (const file of files) {
    const proof = JSON.parse(fs.readFileSync(file, 'utf8'));
    try {
      await verify(proof);
      console.log(`proved ${file}`);
    } catch (error) {
      console.log(`refused ${file}: ${error.message}`);
      process.exitCode = 1;
    }
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 2;
});

'use strict';
// The three kinds of block events of the unmodified SDK: whole blocks, filtered blocks, and
// blocks with private data; live, replayed from a block, resumed from a checkpoint, and on
// two streams at once. Every block is compared with what its transactions were told.
//
//   node block-events.js
//
// Environment as for asset-transfer.js; the contract too has to be the one of the samples.
// One line per step; exit code 0 when all passed, 1 with a text on stderr when one failed.

const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');
const { StatusCode, checkpointers } = require('@hyperledger/fabric-gateway');
const { common, peer } = require('@hyperledger/fabric-protos');
const { assetJson } = require('./assets');
const connection = require('./connection');
const { run, step } = require('./steps');

const RUN = `${Date.now()}-${process.pid}`;
const BLOCK_WAIT_MS = 30_000;
const FIRST_BLOCK_WAIT_MS = 3_000;
const FIRST_BLOCK_ATTEMPTS = 10;
const CODES_SLOT = common.BlockMetadataIndex.TRANSACTIONS_FILTER;

/** How each kind is opened, and how its messages are reduced to what all kinds tell. */
const KINDS = {
  block: {
    open: (network, options) => network.getBlockEvents(options),
    number: (block) => BigInt(block.getHeader().getNumber()),
    transactions: ofBlock,
  },
  'filtered block': {
    open: (network, options) => network.getFilteredBlockEvents(options),
    number: (block) => BigInt(block.getNumber()),
    transactions: ofFilteredBlock,
  },
  'block with private data': {
    open: (network, options) => network.getBlockAndPrivateDataEvents(options),
    number: (message) => BigInt(message.getBlock().getHeader().getNumber()),
    transactions(message) {
      assert.equal(message.getPrivateDataMapMap().getLength(), 0, 'there is no private data');
      return ofBlock(message.getBlock());
    },
  },
};

/** Id, type, code and event name of each transaction of a whole block, whose hashes must hold. */
function ofBlock(block) {
  const entries = block.getData().getDataList_asU8();
  const dataHash = createHash('sha256');
  entries.forEach((entry) => dataHash.update(entry));
  assert.deepEqual(Buffer.from(block.getHeader().getDataHash_asU8()), dataHash.digest(), 'the data hash');
  const codes = block.getMetadata().getMetadataList_asU8()[CODES_SLOT];
  assert.equal(codes.length, entries.length, 'one code for each transaction');
  return entries.map((entry, index) => {
    const payload = common.Payload.deserializeBinary(common.Envelope.deserializeBinary(entry).getPayload_asU8());
    const header = common.ChannelHeader.deserializeBinary(payload.getHeader().getChannelHeader_asU8());
    const endorsed = header.getType() === common.HeaderType.ENDORSER_TRANSACTION;
    return {
      transactionId: header.getTxId(),
      type: header.getType(),
      code: codes[index],
      events: endorsed ? eventsOf(payload.getData_asU8()) : [],
    };
  });
}

function eventsOf(transaction) {
  return peer.Transaction.deserializeBinary(transaction)
    .getActionsList()
    .map((action) => {
      const endorsed = peer.ChaincodeActionPayload.deserializeBinary(action.getPayload_asU8()).getAction();
      const response = peer.ProposalResponsePayload.deserializeBinary(endorsed.getProposalResponsePayload_asU8());
      const chaincodeAction = peer.ChaincodeAction.deserializeBinary(response.getExtension_asU8());
      return peer.ChaincodeEvent.deserializeBinary(chaincodeAction.getEvents_asU8());
    })
    .filter((event) => event.getChaincodeId() !== '')
    .map((event) => ({
      chaincode: event.getChaincodeId(),
      transactionId: event.getTxId(),
      name: event.getEventName(),
    }));
}

function ofFilteredBlock(block) {
  return block.getFilteredTransactionsList().map((transaction) => {
    const actions = transaction.getTransactionActions();
    const endorsed = transaction.getType() === common.HeaderType.ENDORSER_TRANSACTION;
    assert.equal(actions !== undefined, endorsed, 'actions stand beside endorsed transactions only');
    const events = (actions?.getChaincodeActionsList() ?? []).map((action) => action.getChaincodeEvent());
    events.forEach((event) => assert.equal(event.getPayload_asU8().length, 0, 'no payload in a filtered block'));
    return {
      transactionId: transaction.getTxid(),
      type: transaction.getType(),
      code: transaction.getTxValidationCode(),
      events: events.map((event) => ({
        chaincode: event.getChaincodeId(),
        transactionId: event.getTxId(),
        name: event.getEventName(),
      })),
    };
  });
}

/** A stream of one kind, read block by block. Numbers must follow each other without a gap. */
class Blocks {
  #kind;
  #stream;
  #iterator;
  #pending;
  #previous;

  static async open(network, name, options) {
    const blocks = new Blocks();
    blocks.#kind = KINDS[name];
    blocks.#stream = await blocks.#kind.open(network, options);
    blocks.#iterator = blocks.#stream[Symbol.asyncIterator]();
    return blocks;
  }

  /** The next block, or `undefined` when none came in time. */
  async poll(milliseconds) {
    this.#pending ??= this.#iterator.next();
    const result = await orTimeout(this.#pending, milliseconds);
    if (result === undefined) {
      return undefined;
    }
    this.#pending = undefined;
    assert.ok(!result.done, 'the stream has ended');
    const number = this.#kind.number(result.value);
    if (this.#previous !== undefined) {
      assert.equal(number, this.#previous + 1n, 'no block is left out and none comes twice');
    }
    this.#previous = number;
    return { number, transactions: this.#kind.transactions(result.value), message: result.value };
  }

  async next() {
    const block = await this.poll(BLOCK_WAIT_MS);
    assert.ok(block, `no block within ${BLOCK_WAIT_MS / 1000} s`);
    return block;
  }

  /** Up to and with block `last`. */
  async through(last) {
    const blocks = [];
    do {
      blocks.push(await this.next());
    } while (blocks.at(-1).number < last);
    return blocks;
  }

  close() {
    this.#pending?.catch(() => {}); // cancelled by the close
    this.#stream.close();
  }
}

async function orTimeout(promise, milliseconds) {
  let timer;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** What all kinds tell of a block. */
function told({ number, transactions }) {
  return { number, transactions };
}

async function submit(contract, name, ...args) {
  const commit = await contract.submitAsync(name, { arguments: args });
  return commit.getStatus();
}

class BlockRun {
  #connected;
  /** What was committed, in the order of the chain: status and event name. */
  #committed = [];
  /** Blocks as the first replay told them; every other stream has to tell the same. */
  #expected;

  constructor(connected) {
    this.#connected = connected;
  }

  get #first() {
    return this.#committed[0].blockNumber;
  }

  get #last() {
    return this.#committed.at(-1).blockNumber;
  }

  #open(name, options) {
    return Blocks.open(this.#connected.network, name, options);
  }

  async #commit(name, ...args) {
    const status = await submit(this.#connected.contract, name, ...args);
    assert.equal(status.code, StatusCode.VALID, `${name} has code ${StatusCode[status.code]}`);
    this.#committed.push({ ...status, name });
    return status;
  }

  /** Transactions with events, some of which share a block, and one that is invalid. */
  async prepare() {
    const id = `block${RUN}`;
    await this.#commit('CreateAsset', id, 'blue', '1', 'Ada', '1');
    await Promise.all(
      [0, 1, 2].map((index) => this.#commit('CreateAsset', `${id}-${index}`, 'red', '1', 'Ada', '1')),
    );
    const endorse = (owner) =>
      this.#connected.contract.newProposal('TransferAsset', { arguments: [id, owner] }).endorse();
    const transactions = await Promise.all(['Ann', 'Ben'].map(endorse));
    const commits = await Promise.all(transactions.map((transaction) => transaction.submit()));
    const statuses = await Promise.all(commits.map((commit) => commit.getStatus()));
    const codes = statuses.map(({ code }) => code).sort((left, right) => left - right);
    assert.deepEqual(codes, [StatusCode.VALID, StatusCode.MVCC_READ_CONFLICT]);
    this.#committed.push(...statuses.map((status) => ({ ...status, name: 'TransferAsset' })));
    await this.#commit('DeleteAsset', id);
    this.#committed.sort((left, right) => Number(left.blockNumber - right.blockNumber));
    return `blocks ${this.#first} to ${this.#last}`;
  }

  /** The same blocks by every kind, each transaction where and as its client was told. */
  async replay(name) {
    const stream = await this.#open(name, { startBlock: this.#first });
    try {
      const blocks = (await stream.through(this.#last)).map(told);
      assert.equal(blocks[0].number, this.#first);
      this.#expected ??= blocks;
      assert.deepEqual(blocks, this.#expected);
      this.#committed.forEach((status) => this.#assertIn(blocks, status));
      return `${blocks.length} blocks from ${blocks[0].number}`;
    } finally {
      stream.close();
    }
  }

  #assertIn(blocks, { blockNumber, transactionId, code, name }) {
    const block = blocks.find(({ number }) => number === blockNumber);
    const transaction = block.transactions.find((candidate) => candidate.transactionId === transactionId);
    assert.deepEqual(transaction, {
      transactionId,
      type: common.HeaderType.ENDORSER_TRANSACTION,
      code,
      events: [{ chaincode: this.#connected.chaincodeName, transactionId, name }],
    });
  }

  /** From the first block on: a configuration, and a chain of hashes. */
  async chain() {
    const stream = await this.#open('block', { startBlock: 0n });
    try {
      const blocks = await stream.through(this.#last);
      assert.equal(blocks[0].transactions.length, 1);
      assert.equal(blocks[0].transactions[0].type, common.HeaderType.CONFIG);
      for (const [index, { message }] of blocks.entries()) {
        const previous = index === 0 ? Buffer.alloc(0) : headerHash(blocks[index - 1].message.getHeader());
        assert.deepEqual(Buffer.from(message.getHeader().getPreviousHash_asU8()), previous);
      }
      return `${blocks.length} blocks`;
    } finally {
      stream.close();
    }
  }

  /** Blocks that are committed while the stream is open. */
  async live(name) {
    const stream = await this.#open(name);
    try {
      const id = `live${RUN}-${name.length}`;
      await this.#untilLive(stream, id);
      const status = await submit(this.#connected.contract, 'TransferAsset', id, 'Zoe');
      const block = (await stream.through(status.blockNumber)).at(-1);
      this.#assertIn([block], { ...status, name: 'TransferAsset' });
      return `block ${block.number}`;
    } finally {
      stream.close();
    }
  }

  /** Commits until the stream shows a block: only then is it known to have started. */
  async #untilLive(stream, id) {
    await submit(this.#connected.contract, 'CreateAsset', id, 'grey', '1', 'Live', '1');
    for (let attempt = 1; attempt <= FIRST_BLOCK_ATTEMPTS; attempt += 1) {
      if (await stream.poll(FIRST_BLOCK_WAIT_MS)) {
        return;
      }
      await submit(this.#connected.contract, 'UpdateAsset', id, 'grey', String(attempt), 'Live', '1');
    }
    throw new Error(`no block after ${FIRST_BLOCK_ATTEMPTS} transactions`);
  }

  /** Stops after every block once, and goes on from what a file remembers. */
  async resume(name) {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'ripstop-checkpoint-'));
    try {
      for (const expected of this.#expected) {
        const checkpoint = await checkpointers.file(path.join(folder, 'checkpoint.json'));
        const startBlock = this.#first; // only for the first time
        const stream = await this.#open(name, { startBlock, checkpoint });
        try {
          assert.deepEqual(told(await stream.next()), expected);
          await checkpoint.checkpointBlock(expected.number);
        } finally {
          stream.close();
        }
      }
    } finally {
      await fs.rm(folder, { recursive: true });
    }
  }

  /** Two streams of one kind and one of each other, read in turns; one ends, the others go on. */
  async atOnce() {
    const names = ['block', ...Object.keys(KINDS)];
    const streams = await Promise.all(names.map((name) => this.#open(name, { startBlock: this.#first })));
    try {
      for (const [index, expected] of this.#expected.entries()) {
        const open = index === 0 ? streams : streams.slice(1);
        const blocks = await Promise.all(open.map(async (stream) => told(await stream.next())));
        blocks.forEach((block) => assert.deepEqual(block, expected));
        if (index === 0) {
          streams[0].close();
        }
      }
    } finally {
      streams.forEach((stream) => stream.close());
    }
    return `${names.length} streams`;
  }

  /** A start beyond the height is refused at once with NOT_FOUND. */
  async beyond(name) {
    const stream = await this.#open(name, { startBlock: this.#last + 1_000n });
    try {
      const error = await stream.next().then(
        () => assert.fail('no block is there'),
        (reason) => reason,
      );
      assert.equal(error.message, `Unexpected status response: ${common.Status.NOT_FOUND}`);
    } finally {
      stream.close();
    }
  }
}

/** The hash that the next block names: SHA-256 over the DER sequence of number and hashes. */
function headerHash(header) {
  const integer = derInteger(header.getNumber());
  const octets = [header.getPreviousHash_asU8(), header.getDataHash_asU8()].map((hash) => der(0x04, hash));
  return createHash('sha256').update(der(0x30, Buffer.concat([integer, ...octets]))).digest();
}

function derInteger(number) {
  let hex = number.toString(16);
  hex = hex.length % 2 === 0 ? hex : `0${hex}`;
  const bytes = Buffer.from(hex, 'hex');
  return der(0x02, bytes[0] >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes);
}

function der(tag, content) {
  assert.ok(content.length < 128);
  return Buffer.concat([Buffer.from([tag, content.length]), content]);
}

async function main() {
  const connected = await connection.open();
  try {
    const blocks = new BlockRun(connected);
    await step('Transactions are committed', () => blocks.prepare());
    await step('The chain is read from its first block', () => blocks.chain());
    for (const name of Object.keys(KINDS)) {
      await step(`Replayed from a block: ${name}`, () => blocks.replay(name));
      await step(`Live: ${name}`, () => blocks.live(name));
      await step(`Resumed from a checkpoint: ${name}`, () => blocks.resume(name));
      await step(`Refused beyond the height: ${name}`, () => blocks.beyond(name));
    }
    await step('Several streams at once tell the same', () => blocks.atOnce());
    console.log('all steps passed');
  } finally {
    connected.close();
  }
}

run(main);

'use strict';
// Chaincode events: as they happen, again from a block, and on from a checkpoint.

const assert = require('node:assert/strict');
const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');
const { StatusCode, checkpointers } = require('@hyperledger/fabric-gateway');
const { assetJson, text } = require('./assets');
const { step } = require('./steps');

const EVENT_WAIT_MS = 30_000;
// A new stream starts at the next commit from the peer's point of view; until its first
// event is there, nobody knows from outside that it has started.
const FIRST_EVENT_WAIT_MS = 3_000;
const FIRST_EVENT_ATTEMPTS = 10;

/** A stream of chaincode events, read one by one; events of other runs are left out. */
class Events {
  #stream;
  #iterator;
  #isOurs;
  #pending;

  constructor(stream, isOurs) {
    this.#stream = stream;
    this.#iterator = stream[Symbol.asyncIterator]();
    this.#isOurs = isOurs;
  }

  /** The next event of this run, or `undefined` when none came in time. */
  async poll(milliseconds) {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      this.#pending ??= this.#iterator.next();
      const result = await orTimeout(this.#pending, deadline - Date.now());
      if (result === undefined) {
        return undefined;
      }
      this.#pending = undefined;
      assert.ok(!result.done, 'the event stream has ended');
      if (this.#isOurs(result.value)) {
        return result.value;
      }
    }
  }

  async next() {
    const event = await this.poll(EVENT_WAIT_MS);
    assert.ok(event, `no event within ${EVENT_WAIT_MS / 1000} s`);
    return event;
  }

  async take(count) {
    const events = [];
    while (events.length < count) {
      events.push(await this.next());
    }
    return events;
  }

  close() {
    this.#pending?.catch(() => {}); // cancelled by the close
    this.#stream.close();
  }
}

async function orTimeout(promise, milliseconds) {
  let timer;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.max(milliseconds, 0));
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** What is compared of an event: all of it, the payload as text. */
function plain(event) {
  return { ...event, payload: text(event.payload) };
}

async function committed(contract, name, ...args) {
  const commit = await contract.submitAsync(name, { arguments: args });
  const status = await commit.getStatus();
  assert.equal(status.code, StatusCode.VALID, `${name} ${args[0]} has code ${StatusCode[status.code]}`);
  return status;
}

class EventRun {
  #connected;
  #ids;
  #live;
  /** Events of this run in the order of the chain, as the live stream brought them. */
  #seen = [];

  constructor(connected, run) {
    this.#connected = connected;
    this.#ids = ['probe', 'event', 'many0', 'many1', 'many2'].map((name) => `${name}${run}`);
  }

  get #contract() {
    return this.#connected.contract;
  }

  async #open(options) {
    const { network, chaincodeName } = this.#connected;
    const isOurs = ({ payload }) => this.#ids.includes(JSON.parse(text(payload)).ID);
    return new Events(await network.getChaincodeEvents(chaincodeName, options), isOurs);
  }

  /** Opens the live stream and changes one asset until the stream shows it. */
  async start() {
    const [probe] = this.#ids;
    this.#live = await this.#open();
    await committed(this.#contract, 'CreateAsset', probe, 'grey', '1', 'Probe', '1');
    for (let attempt = 1; attempt <= FIRST_EVENT_ATTEMPTS; attempt += 1) {
      if (await this.#live.poll(FIRST_EVENT_WAIT_MS)) {
        return this.#settle(probe);
      }
      await committed(this.#contract, 'UpdateAsset', probe, 'grey', String(attempt), 'Probe', '1');
    }
    throw new Error(`no event after ${FIRST_EVENT_ATTEMPTS} transactions`);
  }

  /** Reads up to the deletion of the probe: what comes later belongs to the steps. */
  async #settle(probe) {
    const { transactionId } = await committed(this.#contract, 'DeleteAsset', probe);
    while ((await this.#live.next()).transactionId !== transactionId) {
      // events of earlier attempts
    }
    this.#ids.shift();
  }

  async #expect(status, eventName, payload) {
    const event = plain(await this.#live.next());
    const { blockNumber, transactionId } = status;
    assert.deepEqual(event, {
      blockNumber,
      transactionId,
      chaincodeName: this.#connected.chaincodeName,
      eventName,
      payload,
    });
    this.#seen.push(event);
  }

  async oneByOne() {
    const [id] = this.#ids;
    const contract = this.#contract;
    const created = await committed(contract, 'CreateAsset', id, 'blue', '10', 'Sam', '100');
    await this.#expect(created, 'CreateAsset', assetJson(id, 'blue', 10, 'Sam', 100));
    const updated = await committed(contract, 'UpdateAsset', id, 'blue', '10', 'Sam', '200');
    await this.#expect(updated, 'UpdateAsset', assetJson(id, 'blue', 10, 'Sam', 200));
    const transferred = await committed(contract, 'TransferAsset', id, 'Mary');
    await this.#expect(transferred, 'TransferAsset', assetJson(id, 'blue', 10, 'Mary', 200));
    const deleted = await committed(contract, 'DeleteAsset', id);
    await this.#expect(deleted, 'DeleteAsset', assetJson(id, 'blue', 10, 'Mary', 200));
    return `blocks ${created.blockNumber} to ${deleted.blockNumber}`;
  }

  /** Several transactions at once, which may share a block. */
  async atOnce() {
    const ids = this.#ids.slice(1);
    const statuses = await Promise.all(
      ids.map((id) => committed(this.#contract, 'CreateAsset', id, 'red', '1', 'Ann', '1')),
    );
    const events = (await this.#live.take(ids.length)).map(plain);
    for (const [index, { transactionId, blockNumber }] of statuses.entries()) {
      const event = events.find((candidate) => candidate.transactionId === transactionId);
      assert.ok(event, `no event of transaction ${transactionId}`);
      assert.equal(event.blockNumber, blockNumber);
      assert.equal(event.payload, assetJson(ids[index], 'red', 1, 'Ann', 1));
    }
    const blocks = events.map(({ blockNumber }) => blockNumber);
    assert.ok(blocks.every((block, index) => index === 0 || blocks[index - 1] <= block), `blocks ${blocks} ascend`);
    this.#seen.push(...events);
    return `blocks ${[...new Set(blocks)].join(', ')}`;
  }

  /** An endorsed transaction that loses its conflict sets an event that nobody gets. */
  async invalid() {
    const [, id] = this.#ids;
    const endorse = (owner) => this.#contract.newProposal('TransferAsset', { arguments: [id, owner] }).endorse();
    const transactions = await Promise.all(['Ann', 'Ben'].map(endorse));
    const commits = await Promise.all(transactions.map((transaction) => transaction.submit()));
    const statuses = await Promise.all(commits.map((commit) => commit.getStatus()));
    const winners = statuses.filter(({ successful }) => successful);
    assert.equal(winners.length, 1, 'one of two conflicting transfers is valid');
    const owner = statuses[0].successful ? 'Ann' : 'Ben';
    await this.#expect(winners[0], 'TransferAsset', assetJson(id, 'red', 1, owner, 1));
    const last = await committed(this.#contract, 'DeleteAsset', id);
    await this.#expect(last, 'DeleteAsset', assetJson(id, 'red', 1, owner, 1));
  }

  async replay() {
    const events = await this.#open({ startBlock: this.#seen[0].blockNumber });
    try {
      assert.deepEqual((await events.take(this.#seen.length)).map(plain), this.#seen);
    } finally {
      events.close();
    }
    return `${this.#seen.length} events from block ${this.#seen[0].blockNumber}`;
  }

  /** Stops after every event once, and goes on from what a file remembers. */
  async resume() {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'ripstop-checkpoint-'));
    try {
      for (const expected of this.#seen) {
        const checkpoint = await checkpointers.file(path.join(folder, 'checkpoint.json'));
        const startBlock = this.#seen[0].blockNumber; // only for the first time
        const events = await this.#open({ startBlock, checkpoint });
        try {
          const event = await events.next();
          assert.deepEqual(plain(event), expected);
          await checkpoint.checkpointChaincodeEvent(event);
        } finally {
          events.close();
        }
      }
    } finally {
      await fs.rm(folder, { recursive: true });
    }
  }

  close() {
    this.#live?.close();
  }
}

/** The steps; the contract has to set an event for each change of an asset. */
async function eventSteps(connected, run) {
  const events = new EventRun(connected, run);
  try {
    await step('Chaincode events arrive', () => events.start());
    await step('Each change of an asset brings its event', () => events.oneByOne());
    await step('Transactions at once bring their events in block order', () => events.atOnce());
    await step('An invalid transaction brings no event', () => events.invalid());
    await step('Events are replayed from a block', () => events.replay());
    await step('Events go on after a checkpoint', () => events.resume());
  } finally {
    events.close();
  }
}

module.exports = { eventSteps };

'use strict';
// The official message classes, enums and services under the names they have on the wire.
//
// @hyperledger/fabric-protos sorts its classes into JavaScript namespaces of its own
// (`peer`, `ledger.rwset.kvrwset`, `peer.lifecycle`, `orderer.etcdraft`). The generated
// files below them register every symbol as `proto.<wire name>` on the global object;
// those registrations are read here, so no table of names has to be kept.

const fs = require('node:fs');

// The files Ripstop speaks; `--list` and its kin take others as arguments.
const FILES = [
  'common/common.proto',
  'common/configtx.proto',
  'common/configuration.proto',
  'common/ledger.proto',
  'common/policies.proto',
  'gateway/gateway.proto',
  'google/protobuf/any.proto',
  'google/protobuf/timestamp.proto',
  'google/rpc/status.proto',
  'ledger/queryresult/kv_query_result.proto',
  'ledger/rwset/kvrwset/kv_rwset.proto',
  'ledger/rwset/rwset.proto',
  'msp/identities.proto',
  'msp/msp_config.proto',
  'msp/msp_principal.proto',
  'orderer/ab.proto',
  'orderer/configuration.proto',
  'orderer/etcdraft/configuration.proto',
  'orderer/etcdraft/metadata.proto',
  'peer/chaincode.proto',
  'peer/chaincode_event.proto',
  'peer/chaincode_shim.proto',
  'peer/collection.proto',
  'peer/configuration.proto',
  'peer/events.proto',
  'peer/lifecycle/chaincode_definition.proto',
  'peer/lifecycle/db.proto',
  'peer/lifecycle/lifecycle.proto',
  'peer/peer.proto',
  'peer/policy.proto',
  'peer/proposal.proto',
  'peer/proposal_response.proto',
  'peer/query.proto',
  'peer/transaction.proto',
];

function modulePath(file, ending) {
  const folder = file.startsWith('google/protobuf/') ? 'google-protobuf' : '@hyperledger/fabric-protos/lib';
  return require.resolve(`${folder}/${file.replace(/\.proto$/, ending)}`);
}

// Wire names and values of everything that the generated module of one file registers.
function symbols(file) {
  const path = modulePath(file, '_pb.js');
  require(path);
  const registered = fs.readFileSync(path, 'utf8').matchAll(/goog\.exportSymbol\('proto\.([\w.]+)'/g);
  return [...registered].map(([, name]) => [name, name.split('.').reduce((value, part) => value[part], globalThis.proto)]);
}

function isMessage(value) {
  return typeof value === 'function' && typeof value.deserializeBinary === 'function';
}

// A oneof's case numbers are registered like an enum, under a name that ends in "Case".
function isEnum(name, value) {
  return typeof value === 'object' && !name.endsWith('Case');
}

/** Message classes of the given .proto files: Map from wire name to class. */
function messages(files) {
  return new Map(files.flatMap(symbols).filter(([, value]) => isMessage(value)));
}

// How a generated class writes a field: `writer.writeInt32(1, f)`, and for messages also
// the writing function of their class; a map writes its entries itself.
const FIELD = /writer\.write(\w+)\(\s*(\d+),\s*f(?:,\s*([\w.]+)\.serializeBinaryToWriter)?\s*\)/g;
const WRITE = String.raw`jspb\.BinaryWriter\.prototype\.write(\w+)`;
const MAP = new RegExp(
  String.raw`f\.serializeBinary\((\d+), writer, ${WRITE}, ${WRITE}(?:, ([\w.]+)\.serializeBinaryToWriter)?\)`,
  'g',
);

/**
 * Fields of the messages of the given .proto files as `[message's wire name, number, type]`, the type as in
 * `Int32`, `RepeatedBytes`, `PackedUint64`, `Message:Header` or `Map<String,Message:ConfigGroup>`.
 */
function fields(files) {
  const typed = (type, path) => (path === undefined ? type : `${type}:${path.split('.').at(-1)}`);
  return [...messages(files)].flatMap(([name, type]) => {
    const source = type.serializeBinaryToWriter.toString();
    const single = [...source.matchAll(FIELD)].map(([, kind, number, path]) => [name, number, typed(kind, path)]);
    const maps = [...source.matchAll(MAP)].map(([, number, key, value, path]) => [
      name,
      number,
      `Map<${key},${typed(value, path)}>`,
    ]);
    return [...single, ...maps];
  });
}

/** Enum values of the given .proto files as `[enum's wire name, value's name, number]`. */
function enumValues(files) {
  return files
    .flatMap(symbols)
    .filter(([name, value]) => isEnum(name, value))
    .flatMap(([name, value]) => Object.entries(value).map(([key, number]) => [name, key, number]));
}

/** Service methods of the given .proto files as `[path, request, response]`, with `stream ` before a streamed side. */
function serviceMethods(files) {
  const names = new Map([...messages(FILES), ...messages(files)].map(([name, type]) => [type, name]));
  return files.flatMap((file) => {
    let path;
    try {
      path = modulePath(file, '_grpc_pb.js');
    } catch {
      return []; // a file without services
    }
    const definitions = Object.values(require(path)).filter((value) => typeof value === 'object');
    return definitions.flatMap((definition) => Object.values(definition)).map((method) => [
      method.path,
      (method.requestStream ? 'stream ' : '') + names.get(method.requestType),
      (method.responseStream ? 'stream ' : '') + names.get(method.responseType),
    ]);
  });
}

module.exports = { FILES, messages, fields, enumValues, serviceMethods };

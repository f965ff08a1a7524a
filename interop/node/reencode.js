'use strict';
// Decodes messages with the official classes and encodes them again: the bytes must come
// out as they went in. A field that the official class does not know is lost on the way,
// one that it knows under a narrower type is changed, and both show as a difference. What
// does not show (a field that is wider there) is in the lists.
//
//   node reencode.js [FILE]              JSON lines of FILE (default: standard input), each
//                                        {"message": "common.Envelope", "hex": "…"}
//   node reencode.js --list [PROTO…]     wire names of all messages in these .proto files
//   node reencode.js --fields [PROTO…]   their fields: NAME NUMBER TYPE
//   node reencode.js --enums [PROTO…]    their enums: NAME VALUE NUMBER
//   node reencode.js --services [PROTO…] their methods: PATH|REQUEST|RESPONSE
//
// Prints one line per message: "ok NAME", or "differs NAME OURS THEIRS" (hex, "-" when
// empty), "unknown NAME", "refused NAME REASON". Exit code 0: all ok; 1: some are not;
// 2: wrong usage or input.

const fs = require('node:fs');
const { FILES, messages, fields, enumValues, serviceMethods } = require('./official-messages');

function main(args) {
  const [mode, ...files] = args;
  const chosen = files.length > 0 ? files : FILES;
  switch (mode) {
    case '--list':
      return print([...messages(chosen).keys()].sort());
    case '--fields':
      return print(fields(chosen).map((row) => row.join(' ')).sort());
    case '--enums':
      return print(enumValues(chosen).map((row) => row.join(' ')).sort());
    case '--services':
      return print(serviceMethods(chosen).map((row) => row.join('|')).sort());
    default:
      if (args.length > 1 || mode?.startsWith('--')) {
        throw new Error('usage: node reencode.js [FILE] | --list | --fields | --enums | --services [PROTO…]');
      }
      return reencodeLines(fs.readFileSync(mode ?? 0, 'utf8'));
  }
}

function print(lines) {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

function reencodeLines(text) {
  const types = messages(FILES);
  const samples = text.split('\n').filter((line) => line.trim() !== '').map(parseLine);
  if (samples.length === 0) {
    throw new Error('no input: give at least one line {"message": "…", "hex": "…"}');
  }
  const verdicts = samples.map(({ message, hex }) => reencode(types, message, hex));
  print(verdicts);
  if (!verdicts.every((verdict) => verdict.startsWith('ok '))) {
    process.exitCode = 1;
  }
}

function parseLine(line, index) {
  const { message, hex } = JSON.parse(line);
  if (typeof message !== 'string' || typeof hex !== 'string' || !/^([0-9a-f]{2})*$/.test(hex)) {
    throw new Error(`line ${index + 1}: expected {"message": "…", "hex": "lower-case hex"}`);
  }
  return { message, hex };
}

function reencode(types, name, ours) {
  const type = types.get(name);
  if (type === undefined) {
    return `unknown ${name}`;
  }
  try {
    const message = type.deserializeBinary(Buffer.from(ours, 'hex'));
    const theirs = Buffer.from(message.serializeBinary()).toString('hex');
    return theirs === ours ? `ok ${name}` : `differs ${name} ${ours || '-'} ${theirs || '-'}`;
  } catch (error) {
    return `refused ${name} ${String(error.message).replaceAll('\n', ' ')}`;
  }
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = 2;
}

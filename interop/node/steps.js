'use strict';
// A run is a list of named steps: one line each, and the first failure ends it.

/** Runs `action`; prints one line with its name and what it returns. */
async function step(name, action) {
  try {
    const outcome = await action();
    console.log(`ok      ${name}${outcome === undefined ? '' : `: ${outcome}`}`);
  } catch (error) {
    throw new Error(`${name}: ${described(error)}`, { cause: error });
  }
}

// The SDK keeps what the nodes said in `details`.
function described(error) {
  const details = Array.isArray(error.details) ? error.details : [];
  return [error.message, ...details.map((detail) => `  ${JSON.stringify(detail)}`)].join('\n');
}

/** Runs the program; exit code 1 and a text on stderr when a step failed. */
function run(program) {
  program().catch((error) => {
    console.error(`failed  ${error.message}`);
    if (process.env.VERBOSE) {
      console.error(error.cause ?? error);
    }
    process.exitCode = 1;
  });
}

module.exports = { run, step };

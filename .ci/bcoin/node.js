// A bcoin full node on regtest, in memory: `node node.js HTTP_PORT PASSWORD`. It ends when its standard input does, so that it never outlives
// whoever started it. Run by runtime-tokio/tests/nodes.
'use strict';

process.env.NODE_BACKEND = 'js';
const { Address, FullNode } = require('bcoin');

const [port, password] = process.argv.slice(2);

async function main() {
  const node = new FullNode({
    network: 'regtest',
    memory: true,
    apiKey: password,
    httpPort: Number(port),
    listen: false,
    logConsole: true,
    logLevel: 'error',
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
  await node.open();
  await node.connect();
  // Blocks that the node itself is told to mine pay to nobody.
  node.miner.addAddress(Address.fromPubkeyhash(Buffer.alloc(20)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

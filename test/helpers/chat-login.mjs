// Logs one person in over direct TLS, on the phone's side of the test network. Arguments: domain, name; the password by standard
// input. Prints "in", or why not.
import { readFileSync } from 'node:fs';
import { client } from '@xmpp/client';

const [domain, username] = process.argv.slice(2);
const password = readFileSync(0, 'utf8');
const xmpp = client({ service: `xmpps://${domain}:5223`, domain, username, password });
xmpp.on('error', () => {});
try {
  await xmpp.start();
  process.stdout.write('in');
} catch (error) {
  process.stdout.write(error.condition ?? String(error));
}
await xmpp.stop().catch(() => {});
process.exit(0);

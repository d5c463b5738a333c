// A person of one site writes to a person of another, in a process of its own because it runs inside the test network.
// Argument: JSON { from, to, text }, each side { name, domain, password }. Prints as JSON what the receiver got, or the error the sender
// got back.
import { client, xml } from '@xmpp/client';

const { from, to, text } = JSON.parse(process.argv[2]);

async function login({ name, domain, password }) {
  const xmpp = client({ service: `xmpps://${domain}:5223`, domain, username: name, password });
  xmpp.on('error', () => {});
  await xmpp.start();
  await xmpp.send(xml('presence'));
  return xmpp;
}

const [sender, receiver] = [await login(from), await login(to)];
const said = new Promise((resolve) => {
  receiver.on('stanza', (stanza) => {
    if (stanza.is('message') && stanza.getChildText('body') === text)
      resolve({ from: stanza.attrs.from.split('/')[0], text });
  });
  sender.on('stanza', (stanza) => {
    if (stanza.is('message') && stanza.attrs.type === 'error')
      resolve({ refused: stanza.getChild('error').children.map((child) => child.name ?? child)[0] });
  });
});
await sender.send(
  xml('message', { to: `${to.name}@${to.domain}`, type: 'chat', id: 'm1' }, xml('body', {}, text)),
);
const silence = new Promise((resolve) => {
  globalThis.setTimeout(resolve, 60_000, { refused: 'silence' }).unref();
});
process.stdout.write(JSON.stringify(await Promise.race([said, silence])));
process.exit(0);

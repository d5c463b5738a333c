import type { CheckContext } from '../check.js';
import { fetchWeb } from '../clients/https.js';
import { xml } from '../clients/xmpp.js';
import { bodyIs, type Step } from './step.js';

export const file: Step = {
  what: 'file',
  title: 'a file can be sent',
  hint: 'is there room on the card, and is the web server running? See the checks above',
  async run({ context, share, people: { anna, ben } }) {
    const bytes = context.host.random(150_000);
    const answer = await anna.session.iq(
      'get',
      share,
      xml('request', {
        xmlns: 'urn:xmpp:http:upload:0',
        filename: 'verify.bin',
        size: String(bytes.length),
        'content-type': 'application/octet-stream',
      }),
    );
    const slot = answer.getChild('slot', 'urn:xmpp:http:upload:0');
    const put = slot?.getChild('put');
    const get = slot?.getChild('get');
    if (!put?.attrs['url'] || !get?.attrs['url'])
      throw new Error('the chat server gave no place for the file');
    const at = (
      address: string,
    ): { endpoint: ReturnType<CheckContext['dialer']['tcp']>; hostname: string; path: string } => {
      const url = new URL(address);
      if (url.protocol !== 'https:')
        throw new Error(`the file would go over ${url.protocol} instead of https`);
      return {
        endpoint: context.dialer.tcp(Number(url.port || 443)),
        hostname: url.hostname,
        path: url.pathname + url.search,
      };
    };
    const headers = Object.fromEntries(
      put.getChildren('header').map((header) => [header.attrs['name'] ?? '', header.text()]),
    );
    const sent = await fetchWeb({
      ...at(put.attrs['url']),
      caPem: context.caPem,
      method: 'PUT',
      headers: { 'Content-Type': 'application/octet-stream', ...headers },
      body: bytes,
      signal: context.signal,
    });
    if (sent.status !== 200 && sent.status !== 201)
      throw new Error(`the file was not taken (HTTP ${sent.status})`);
    await anna.session.send(
      xml('message', { to: ben.account, type: 'chat' }, xml('body', {}, get.attrs['url'])),
    );
    const received = await ben.session.expect('the message with the file', bodyIs(get.attrs['url'], 'chat'));
    const loaded = await fetchWeb({
      ...at(received.getChildText('body') ?? ''),
      caPem: context.caPem,
      signal: context.signal,
    });
    if (!loaded.body.equals(bytes))
      throw new Error(`the file did not come back as it was (HTTP ${loaded.status})`);
    return `${Math.round(bytes.length / 1000)} kB went up and came back unchanged`;
  },
};

import { setTimeout as sleep } from 'node:timers/promises';
import { fetchWeb } from '../../src/verify/clients/https.js';
import { openXmpp, xml, type XmppSession } from '../../src/verify/clients/xmpp.js';
import type { Element } from '../../src/verify/clients/xmpp.js';
import type { RunningKit } from './kit.js';

/** Logs in at a running kit over direct TLS; tries again for a minute, as apps do while a server starts. */
export async function login(
  running: RunningKit,
  caPem: string,
  username: string,
  password: string,
): Promise<XmppSession> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await loginOnce(running, caPem, username, password);
    } catch (error) {
      if (tries === 12) throw error;
      await sleep(5000);
    }
  }
}

async function loginOnce(
  running: RunningKit,
  caPem: string,
  username: string,
  password: string,
): Promise<XmppSession> {
  const { domain } = running.project.plan.site;
  const route = { kind: 'direct' as const, endpoint: running.dialer.tcp(5223), domain, caPem };
  const session = await openXmpp(route, { username, password, resource: 'test' });
  await session.send(xml('presence'));
  return session;
}

/** Texts in an archive (XEP-0313): one's own, or that of a room. */
export async function archive(session: XmppSession, room?: string): Promise<readonly string[]> {
  const texts: string[] = [];
  const id = `q${Math.random()}`;
  const done = session.iq('set', room, xml('query', { xmlns: 'urn:xmpp:mam:2', queryid: id }));
  const result = (stanza: Element): Element | undefined => stanza.getChild('result', 'urn:xmpp:mam:2');
  await done;
  for (;;) {
    const stanza = await session
      .expect('the archive', (one) => result(one)?.attrs['queryid'] === id, 500)
      .catch(() => null);
    if (stanza === null) return texts;
    const body = result(stanza)?.getChild('forwarded')?.getChild('message')?.getChildText('body');
    if (body) texts.push(body);
  }
}

/** Uploads bytes (XEP-0363). @returns where they can be fetched. */
export async function upload(
  running: RunningKit,
  caPem: string,
  session: XmppSession,
  bytes: Buffer,
): Promise<string> {
  const { domain } = running.project.plan.site;
  const answer = await session.iq(
    'get',
    `share.${domain}`,
    xml('request', {
      xmlns: 'urn:xmpp:http:upload:0',
      filename: 'x-ray.bin',
      size: String(bytes.length),
      'content-type': 'application/octet-stream',
    }),
  );
  const slot = answer.getChild('slot', 'urn:xmpp:http:upload:0');
  const [put, get] = [slot?.getChild('put'), slot?.getChild('get')];
  const to = new URL(put?.attrs['url'] ?? '');
  const headers = Object.fromEntries(
    (put?.getChildren('header') ?? []).map((header) => [header.attrs['name'] ?? '', header.text()]),
  );
  const { status } = await fetchWeb({
    endpoint: running.dialer.tcp(443),
    hostname: to.hostname,
    path: to.pathname + to.search,
    caPem,
    method: 'PUT',
    headers: { 'Content-Type': 'application/octet-stream', ...headers },
    body: bytes,
  });
  if (status !== 200 && status !== 201) throw new Error(`the upload was refused (HTTP ${status})`);
  return get?.attrs['url'] ?? '';
}

/** Fetches an uploaded file. */
export async function download(running: RunningKit, caPem: string, address: string): Promise<Buffer> {
  const url = new URL(address);
  const { status, body } = await fetchWeb({
    endpoint: running.dialer.tcp(443),
    hostname: url.hostname,
    path: url.pathname + url.search,
    caPem,
  });
  if (status !== 200) throw new Error(`the file is not there (HTTP ${status})`);
  return body;
}

/** Makes a persistent room and says something in it (XEP-0045). */
export async function sayInRoom(session: XmppSession, room: string, text: string): Promise<void> {
  await session.send(
    xml('presence', { to: `${room}/nick` }, xml('x', { xmlns: 'http://jabber.org/protocol/muc' })),
  );
  await session.expect(
    'being in the room',
    (stanza) => stanza.is('presence') && (stanza.attrs['from'] ?? '').startsWith(`${room}/`),
  );
  const field = (name: string, value: string): Element =>
    xml('field', { var: name }, xml('value', {}, value));
  await session.iq(
    'set',
    room,
    xml(
      'query',
      { xmlns: 'http://jabber.org/protocol/muc#owner' },
      xml(
        'x',
        { xmlns: 'jabber:x:data', type: 'submit' },
        field('FORM_TYPE', 'http://jabber.org/protocol/muc#roomconfig'),
        field('muc#roomconfig_persistentroom', '1'),
      ),
    ),
  );
  await session.send(xml('message', { to: room, type: 'groupchat' }, xml('body', {}, text)));
  await session.expect(
    'the message in the room',
    (stanza) => stanza.is('message') && stanza.getChildText('body') === text,
  );
}

/** Makes an account on the kit; the password goes over standard input, never into a command line. */
export async function makeAccount(running: RunningKit, name: string, password: string): Promise<void> {
  const { domain } = running.project.plan.site;
  const ssh = await running.connect();
  try {
    const { code, stdout, stderr } = await ssh.exec('sudo -n sh', {
      stdin: `prosodyctl shell user create ${name}@${domain} ${password} </dev/null`,
      timeoutMs: 60_000,
    });
    if (code !== 0) throw new Error(stdout + stderr);
  } finally {
    ssh.close();
  }
}

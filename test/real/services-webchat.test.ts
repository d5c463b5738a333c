import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdir } from 'node:fs/promises';
import { createHost } from '../../src/host/host.js';
import { SITE } from '../fixtures/verify-plan.js';
import { chatInBrowser } from '../helpers/chat-in-browser.js';
import { startWebchat, type TestWebchat } from '../helpers/matrix-web.js';

const host = createHost();
let kit: TestWebchat;
let folder: string;

beforeAll(async () => {
  kit = await startWebchat(host, SITE);
  folder = process.env['COMMESH_TEST_PICTURES'] ?? (await host.temporary('browsers'));
  await mkdir(folder, { recursive: true });
});
afterAll(async () => {
  if (process.env['DEBUG']) console.info(kit?.output().slice(-3000));
  await host.close();
});

describe('the chat for browsers', () => {
  it('lets two people write and send pictures in an encrypted room, and asks nobody but the kit', async () => {
    await kit.addPerson('anna', 'correct horse battery');
    await kit.addPerson('ben', 'staple river window');
    const { hosts, complaints } = await chatInBrowser(host, {
      domain: SITE.domain,
      caPem: kit.caPem,
      https: { address: '127.0.0.1', port: kit.ports.https },
      folder,
      people: [
        { name: 'anna', password: 'correct horse battery' },
        { name: 'ben', password: 'staple river window' },
      ],
    });
    console.info(hosts, complaints);
    expect(hosts).toEqual([`chat.${SITE.domain}`, SITE.domain, `matrix.${SITE.domain}`].sort());
  });
});

import { defineService, SISTERS_FILE, SISTERS_ROOT, type FileWish, type Site } from '../contract.js';

const READABLE = { mode: '0644', owner: 'root', group: 'root', because: ['federation'] } as const;

function files({ federation }: Site): readonly FileWish[] {
  if (federation.length === 0) return [];
  const template = `${SISTERS_ROOT}/certificates`;
  return [
    { path: SISTERS_ROOT, kind: 'directory', ...READABLE, mode: '0755' },
    ...federation.map(({ domain, ca }, index): FileWish => ({
      path: `${SISTERS_ROOT}/${domain}.crt`,
      kind: 'template',
      template,
      ...READABLE,
      because: ['federation', index, 'ca'],
      data: { certificates: [ca.trimEnd().split('\n')] },
    })),
    {
      path: SISTERS_FILE,
      kind: 'template',
      template,
      ...READABLE,
      data: { certificates: federation.map(({ ca }) => ca.trimEnd().split('\n')) },
    },
  ];
}

export const service = defineService<Record<string, never>>({
  id: 'federation',
  title: 'Sister sites',
  summary: 'the certificates of the few other kits whose people may write to the people of this one',
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => ({
    files: files(site),
    backup: { none: 'the certificates of sister sites are part of the image' },
  }),
  collect: ({ site }, { ports }) => ({
    checks:
      site.federation.length === 0
        ? []
        : [
            {
              kind: 'federation',
              title: 'sister sites can be reached, and are who they say',
              // Ports that only sisters reach; Matrix comes through the web server, which every kit has.
              options: { xmpp: ports.some(({ scope }) => scope === 'sisters') },
              because: ['federation'],
            },
          ],
  }),
});

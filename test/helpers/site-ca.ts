import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';

export interface TestCa {
  readonly caPem: string;
  /** Writes `<id>.crt` (leaf, then CA) and `<id>.key` into `folder`. */
  issue(folder: string, id: string, names: readonly string[], days?: number): Promise<void>;
}

/** A CA of its own made by openssl, so that these tests do not lean on the product's. */
export async function createTestCa(host: Host): Promise<TestCa> {
  const home = await host.temporary('test-ca');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await host.exec(
    [
      'openssl',
      'req',
      '-x509',
      ...key,
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      '3650',
      '-subj',
      '/CN=Test site CA',
    ],
    { cwd: home },
  );
  const caPem = await readFile(join(home, 'ca.crt'), 'utf8');
  return {
    caPem,
    async issue(folder, id, names, days = 397) {
      const san = names.map((name) => (/^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',');
      await host.exec(
        [
          'openssl',
          'req',
          ...key,
          '-keyout',
          join(folder, `${id}.key`),
          '-out',
          `${id}.csr`,
          '-subj',
          `/CN=${names[0]}`,
        ],
        { cwd: home },
      );
      await writeFile(
        join(home, `${id}.ext`),
        `subjectAltName=${san}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n`,
      );
      const { stdout } = await host.exec(
        // prettier-ignore
        ['openssl', 'x509', '-req', '-in', `${id}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial',
          '-days', String(days), '-extfile', `${id}.ext`],
        { cwd: home },
      );
      await writeFile(join(folder, `${id}.crt`), stdout + caPem);
    },
  };
}

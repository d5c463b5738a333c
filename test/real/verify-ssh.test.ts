import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InterruptedError } from '../../src/diagnostics/errors.js';
import { createHost } from '../../src/host/host.js';
import { connectSsh } from '../../src/host/ssh.js';
import { freePort } from '../helpers/ports.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';

const host = createHost();
let sshd: TestSshd;

beforeAll(async () => {
  sshd = await startSshd(host);
});
afterAll(() => host.close());

test('runs commands side by side and tells their ends apart', async () => {
  const ssh = await connectSsh(host, sshd.target);
  try {
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        ssh.exec(`echo out ${index}; echo err ${index} >&2; exit ${index}`),
      ),
    );
    results.forEach((result, index) =>
      expect(result).toEqual({ code: index, stdout: `out ${index}\n`, stderr: `err ${index}\n` }),
    );
    expect((await ssh.exec('kill -TERM $$')).code).toBe(143);
  } finally {
    ssh.close();
  }
});

test('bytes go through unchanged both ways, as text, buffer and stream', async () => {
  const ssh = await connectSsh(host, sshd.target);
  try {
    const bytes = randomBytes(3_000_000);
    const digest = createHash('sha256').update(bytes).digest('hex');
    expect((await ssh.exec('sha256sum', { stdin: bytes })).stdout).toBe(`${digest}  -\n`);
    expect((await ssh.exec('cat', { stdin: 'grüße\n' })).stdout).toBe('grüße\n');
    const hash = createHash('sha256');
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        setImmediate(done);
      },
    });
    const result = await ssh.exec('cat', { stdin: Readable.from([bytes]), stdout: sink });
    expect(result).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(hash.digest('hex')).toBe(digest);
    // A command that does not read its input is no fault.
    expect((await ssh.exec('true', { stdin: bytes })).code).toBe(0);
  } finally {
    ssh.close();
  }
});

test('another host key is another kit', async () => {
  await host.exec(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', `${sshd.folder}/other`]);
  const other = (await host.exec(['cat', `${sshd.folder}/other.pub`])).stdout;
  await expect(connectSsh(host, { ...sshd.target, hostKeyPublic: other })).rejects.toMatchObject({
    failure: 'other-kit',
    message: expect.stringContaining('this is not the kit this profile describes') as string,
  });
  await host.exec(['ssh-keygen', '-q', '-t', 'rsa', '-N', '', '-f', `${sshd.folder}/rsa`]);
  const rsa = (await host.exec(['cat', `${sshd.folder}/rsa.pub`])).stdout;
  await expect(connectSsh(host, { ...sshd.target, hostKeyPublic: rsa })).rejects.toMatchObject({
    failure: 'other-kit',
  });
});

test('a key the kit does not know, nobody there, silence, and a hang-up are told apart', async () => {
  const stranger = (await host.exec(['cat', `${sshd.folder}/other`])).stdout;
  await expect(connectSsh(host, { ...sshd.target, privateKey: stranger })).rejects.toMatchObject({
    failure: 'login',
    message: expect.stringContaining('did not accept the operator') as string,
  });
  await expect(connectSsh(host, { ...sshd.target, port: await freePort() })).rejects.toMatchObject({
    failure: 'refused',
  });
  await expect(connectSsh(host, { ...sshd.target, privateKey: 'nonsense' })).rejects.toMatchObject({
    failure: 'key',
  });
  const silent = createServer(() => {});
  const rude = createServer((socket) => socket.destroy());
  for (const server of [silent, rude]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const at = (server: typeof silent): number => (server.address() as { port: number }).port;
  try {
    await expect(
      connectSsh(host, { ...sshd.target, port: at(silent), timeoutMs: 500 }),
    ).rejects.toMatchObject({ failure: 'timeout' });
    await expect(connectSsh(host, { ...sshd.target, port: at(rude) })).rejects.toMatchObject({
      failure: 'lost',
    });
  } finally {
    silent.close();
    rude.close();
  }
});

test('a command that hangs is given up, and the connection lives on', async () => {
  const ssh = await connectSsh(host, sshd.target);
  try {
    await expect(ssh.exec('sleep 60', { timeoutMs: 300 })).rejects.toMatchObject({ failure: 'timeout' });
    expect((await ssh.exec('echo still here')).stdout).toBe('still here\n');
  } finally {
    ssh.close();
  }
  await expect(ssh.exec('true')).rejects.toMatchObject({ failure: 'lost' });
});

test('Ctrl-C ends running commands', async () => {
  const aborter = new AbortController();
  const ssh = await connectSsh(host, { ...sshd.target, signal: aborter.signal });
  const running = ssh.exec('sleep 60');
  aborter.abort();
  await expect(running).rejects.toBeInstanceOf(InterruptedError);
  await expect(connectSsh(host, { ...sshd.target, signal: aborter.signal })).rejects.toBeInstanceOf(
    InterruptedError,
  );
});

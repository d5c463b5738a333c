import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hashFile } from '../../src/host/files.js';
import { createHost } from '../../src/host/host.js';
import { encodeMbr } from '../../src/image/mbr.js';
import { chooseAccelerator } from '../../src/image/qemu/accelerator.js';
import { startKit, type Kit, type KitOptions } from '../../src/image/qemu/kit.js';

const outer = createHost();
let host: ReturnType<typeof createHost>;
let image: string;
let options: KitOptions;

/** Writes one line to the serial port again and again (16-bit code of a boot sector). */
const TALKS = Buffer.from(
  [
    // xor ax,ax; mov ds,ax; next: mov si,text
    'fc31c08ed8be',
    '1e7c',
    // char: lodsb; test al,al; jz next; mov dx,0x3f8; out dx,al; jmp char
    'ac84c074f8baf803eeebf5',
  ].join(''),
  'hex',
);

function bootSector(text: string): Buffer {
  const code = Buffer.alloc(440);
  TALKS.copy(code);
  code.write(`${text}\r\n\0`, 0x1e, 'latin1');
  return encodeMbr(1, [{ bootable: true, type: 0x0c, start: 2048, sectors: 2048 }], code);
}

beforeAll(async () => {
  const folder = await outer.temporary('qemu-test');
  image = join(folder, 'kit.img');
  const disk = Buffer.alloc(4 << 20);
  bootSector('hello from the boot sector').copy(disk);
  await writeFile(image, disk);
  options = {
    image,
    site: {
      arch: 'amd64',
      memoryMiB: 64,
      network: { address: '10.77.0.1', network: '10.77.0.0', broadcast: '10.77.0.255', prefix: 24 },
    },
    ports: [
      { protocol: 'tcp', port: 22 },
      { protocol: 'tcp', port: 443 },
      { protocol: 'udp', port: 53 },
    ],
    bios: 'bios',
    accelerator: 'tcg',
    diskGiB: 3,
  };
});
afterAll(() => outer.close());
beforeEach(() => {
  host = createHost();
});
afterEach(() => host.close());

const accepts = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });

describe('a kit under QEMU', () => {
  it('runs the image, logs its console, and changes nothing in it', async () => {
    const before = await hashFile(image);
    const lines: string[] = [];
    let kit: Kit | undefined;
    await new Promise<void>((seen, failed) => {
      startKit(host, {
        ...options,
        onLine: (line) => {
          lines.push(line);
          seen();
        },
      }).then((started) => {
        kit = started;
      }, failed);
    });
    expect(lines[0]).toBe('hello from the boot sector');
    const state = (await kit?.control('query-block')) as {
      inserted?: { image: { 'virtual-size': number } };
    }[];
    expect(state.map((one) => one.inserted?.image['virtual-size'])).toContain(3 * 2 ** 30);
    await kit?.kill();
    expect(await kit?.exited).toEqual({ exitCode: 0 });
    expect(await hashFile(image)).toEqual(before);
  });

  it('runs beside another one, each with ports of its own', async () => {
    const kits = [
      await startKit(host, { ...options, usualPorts: true }),
      await startKit(host, { ...options, usualPorts: true }),
    ];
    const ports = kits.flatMap(({ forwards }) => Object.values(forwards.tcp));
    expect(new Set(ports).size).toBe(4);
    for (const port of ports) expect(await accepts(port)).toBe(true);
    expect(kits.map(({ forwards }) => Object.keys(forwards.udp))).toEqual([['53'], ['53']]);
    await Promise.all(kits.map((kit) => kit.kill()));
    for (const port of ports) expect(await accepts(port)).toBe(false);
  });

  it("does not take QEMU's open port for a kit that is up", async () => {
    const kit = await startKit(host, options);
    await expect(kit.waitReady(1500)).rejects.toThrow(
      /did not answer within 2 s\nhello from the boot sector/,
    );
    await kit.kill();
    await expect(kit.waitReady(1500)).rejects.toThrow('QEMU has ended before the kit was up');
  });

  it('gives up at once when the console says it is over', async () => {
    const hopeless = join(await host.temporary('qemu-test'), 'panic.img');
    const disk = Buffer.alloc(4 << 20);
    bootSector('Kernel panic - not syncing').copy(disk);
    await writeFile(hopeless, disk);
    const kit = await startKit(host, { ...options, image: hopeless });
    await expect(kit.waitReady(60_000)).rejects.toThrow('the kit does not start\nKernel panic');
  });

  it('ends with the program that started it', async () => {
    const kit = await startKit(host, options);
    await host.close();
    await kit.exited;
    expect(await accepts(kit.forwards.tcp['22'] ?? 0)).toBe(false);
  });

  it('keeps its card for another start', async () => {
    const disk = join(await host.temporary('qemu-test'), 'card.qcow2');
    const kit = await startKit(host, { ...options, disk });
    expect(kit.disk).toBe(disk);
    await kit.kill();
    await host.exec(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 1G 512', disk]);
    await (await startKit(host, { ...options, disk })).kill();
    await host.exec(['qemu-io', '-f', 'qcow2', '-c', 'read -P 7 1G 512', disk]);
  });

  it.each([
    ['an image that is not there', { image: '/nowhere/kit.img' }, 'there is no image at /nowhere/kit.img'],
    ['a network without room', { site: { network: { prefix: 32 } } }, 'no address is left'],
  ] as const)('says no to %s', async (_what, change, message) => {
    const site = 'site' in change ? { ...options.site, network: tiny } : options.site;
    await expect(startKit(host, { ...options, ...change, site })).rejects.toThrow(message);
  });

  it('says no to an arm64 image that is none', async () => {
    const blank = join(await host.temporary('qemu-test'), 'blank.img');
    await writeFile(blank, Buffer.alloc(1 << 20));
    await expect(
      startKit(host, { ...options, image: blank, site: { ...options.site, arch: 'arm64' } }),
    ).rejects.toThrow('is not a disk image');
  });
});

const tiny = { address: '10.0.0.1', network: '10.0.0.1', broadcast: '10.0.0.1', prefix: 32 };

describe('chooseAccelerator', () => {
  it('emulates another architecture, and decides about its own within seconds', async () => {
    expect(await chooseAccelerator(host, process.arch === 'x64' ? 'arm64' : 'amd64')).toBe('tcg');
    const begin = host.now();
    expect(['kvm', 'tcg']).toContain(
      await chooseAccelerator(host, process.arch === 'x64' ? 'amd64' : 'arm64'),
    );
    expect(host.now() - begin).toBeLessThan(30_000);
  });
});

import { createSocket } from 'node:dgram';
import { afterEach, describe, expect, it } from 'vitest';
import { freeUdpPorts } from './ports.js';
import { checksum, parseUdp, startUdpRelay, udpPacket, type UdpRelay } from './udp-relay.js';

const laptop = Buffer.from([10, 77, 0, 253]);
const kit = Buffer.from([10, 77, 0, 1]);

describe('packets', () => {
  it('have the checksum of RFC 1071', () => {
    // The example of RFC 1071, section 3: the sum is ddf2.
    expect(checksum(Buffer.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]))).toBe(0xffff - 0xddf2);
  });
  it.each([0, 1, 2, 1200])('come back as they were, with %i bytes', (length) => {
    const payload = Buffer.alloc(length, 0xab);
    const packet = udpPacket(laptop, 40_000, kit, 53, payload);
    expect(checksum(packet.subarray(0, 20))).toBe(0);
    expect(parseUdp(packet, kit)).toEqual({ port: 53, payload });
  });
  it('for others, fragments and damaged ones are left alone', () => {
    const packet = udpPacket(laptop, 40_000, kit, 53, Buffer.from('x'));
    expect(parseUdp(packet, laptop)).toBeNull();
    expect(parseUdp(packet.subarray(0, 20), kit)).toBeNull();
    packet.writeUInt16BE(0x2000, 6);
    expect(parseUdp(packet, kit)).toBeNull();
  });
});

describe('startUdpRelay', () => {
  let relay: UdpRelay | undefined;
  afterEach(() => relay?.close());

  it('carries questions and answers of two programs at once', async () => {
    const [here, qemu] = await freeUdpPorts(2);
    const [forward] = await freeUdpPorts(2);
    relay = await startUdpRelay({
      here,
      qemu,
      address: '10.77.0.253',
      kit: '10.77.0.1',
      forwards: { '53': forward },
    });
    // A kit that answers ARP and sends each datagram back in capitals.
    const wire = createSocket('udp4');
    await new Promise<void>((done) => wire.bind(qemu, '127.0.0.1', done));
    const mac = Buffer.from([2, 0, 0, 0, 0, 1]);
    wire.on('message', (frame) => {
      const answer = Buffer.from(frame);
      frame.copy(answer, 0, 6, 12);
      mac.copy(answer, 6);
      if (frame.readUInt16BE(12) === 0x0806) {
        answer.writeUInt16BE(2, 20);
        mac.copy(answer, 22);
        frame.copy(answer, 28, 38, 42);
        frame.copy(answer, 32, 22, 32);
        return wire.send(answer, here, '127.0.0.1');
      }
      expect(frame.subarray(0, 6)).toEqual(mac);
      const asked = parseUdp(frame.subarray(14), kit);
      const from = frame.readUInt16BE(34);
      const payload = Buffer.from(asked?.payload.toString().toUpperCase() ?? '');
      wire.send(
        Buffer.concat([answer.subarray(0, 14), udpPacket(kit, 53, laptop, from, payload)]),
        here,
        '127.0.0.1',
      );
    });
    const ask = async (text: string): Promise<string> => {
      const socket = createSocket('udp4');
      const answer = new Promise<string>((done) => socket.once('message', (said) => done(said.toString())));
      socket.send(text, forward, '127.0.0.1');
      try {
        return await answer;
      } finally {
        socket.close();
      }
    };
    expect(await Promise.all([ask('one'), ask('two'), ask('three')])).toEqual(['ONE', 'TWO', 'THREE']);
    await new Promise<void>((done) => wire.close(() => done()));
  });
});

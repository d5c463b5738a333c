import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

/**
 * A laptop on the kit's network that does one thing: it passes UDP between ports of this machine and the kit.
 *
 * QEMU's user network forwards UDP ports only without `restrict=on` (libslirp drops the kit's answers), and without it the
 * kit could reach the internet. So the kit's LAN is a hub of two: QEMU's user network, restricted, for TCP, and this. Frames
 * come as single datagrams from `-netdev dgram` or `-netdev socket,udp=` (qemu(1)).
 */
export interface UdpRelay {
  close(): Promise<void>;
}

export interface UdpRelayOptions {
  /** Where QEMU sends frames, and where it takes them, on 127.0.0.1. */
  readonly here: number;
  readonly qemu: number;
  /** IPv4 address of this laptop on the kit's network. */
  readonly address: string;
  /** IPv4 address of the kit. */
  readonly kit: string;
  /** Port on the kit → port of this machine, on 127.0.0.1. */
  readonly forwards: Readonly<Record<string, number>>;
}

const LOOPBACK = '127.0.0.1';
// Locally administered (IEEE 802), beside QEMU's own 52:54:00 range.
const OUR_MAC = Buffer.from([0x52, 0x55, 0x0a, 0x4d, 0x00, 0xfc]);
const BROADCAST_MAC = Buffer.alloc(6, 0xff);
const IPV4 = 0x0800;
const ARP = 0x0806;
const UDP = 17;
const FIRST_PORT = 40_000;
const LAST_PORT = 60_000;

interface Peer {
  readonly socket: Socket;
  readonly info: RemoteInfo;
}

/** Starts the relay; it listens once the promise resolves. @throws what node:dgram throws when a port is taken. */
export async function startUdpRelay(options: UdpRelayOptions): Promise<UdpRelay> {
  const ours = bytesOf(options.address);
  const kit = bytesOf(options.kit);
  const wire = createSocket('udp4');
  const sockets: Socket[] = [wire];
  const peers = new Map<number, Peer>();
  const ports = new Map<string, number>();
  let kitMac: Buffer | null = null;
  let waiting: Buffer[] = [];
  let next = FIRST_PORT;
  const send = (frame: Buffer): void => wire.send(frame, options.qemu, LOOPBACK);
  const ask = (): void => send(arpFrame(BROADCAST_MAC, 1, ours, Buffer.alloc(6), kit));

  wire.on('message', (frame) => {
    if (frame.length < 14) return;
    const type = frame.readUInt16BE(12);
    if (type === ARP && frame.length >= 42) {
      const sender = frame.subarray(28, 32);
      if (sender.equals(kit)) {
        kitMac = Buffer.from(frame.subarray(22, 28));
        for (const packet of waiting) send(ethernet(kitMac, IPV4, packet));
        waiting = [];
      }
      if (frame.readUInt16BE(20) === 1 && frame.subarray(38, 42).equals(ours)) {
        send(arpFrame(frame.subarray(22, 28), 2, ours, frame.subarray(22, 28), sender));
      }
    } else if (type === IPV4) {
      const datagram = parseUdp(frame.subarray(14), ours);
      const peer = datagram === null ? undefined : peers.get(datagram.port);
      if (datagram !== null && peer !== undefined) {
        peer.socket.send(datagram.payload, peer.info.port, peer.info.address);
      }
    }
  });
  // Nobody listens at QEMU's end before it has started, or after it has ended.
  wire.on('error', () => {});

  const portFor = (socket: Socket, info: RemoteInfo, to: number): number => {
    const key = `${to} ${info.address} ${info.port}`;
    const known = ports.get(key);
    if (known !== undefined) return known;
    const port = next;
    next = next === LAST_PORT ? FIRST_PORT : next + 1;
    ports.set(key, port);
    peers.set(port, { socket, info });
    return port;
  };

  await bind(wire, options.here);
  for (const [to, at] of Object.entries(options.forwards)) {
    const socket = createSocket('udp4');
    sockets.push(socket);
    socket.on('message', (payload, info) => {
      const packet = udpPacket(ours, portFor(socket, info, Number(to)), kit, Number(to), payload);
      if (kitMac !== null) return send(ethernet(kitMac, IPV4, packet));
      // A kit that is still starting answers nobody; what was asked first is old by then.
      waiting = [...waiting.slice(-15), packet];
      ask();
    });
    socket.on('error', () => {});
    await bind(socket, at);
  }
  return {
    async close() {
      await Promise.all(sockets.map((socket) => new Promise<void>((done) => socket.close(() => done()))));
    },
  };
}

function bind(socket: Socket, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, LOOPBACK, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

function bytesOf(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function ethernet(to: Buffer, type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(14);
  to.copy(head, 0);
  OUR_MAC.copy(head, 6);
  head.writeUInt16BE(type, 12);
  const frame = Buffer.concat([head, payload]);
  // Shorter frames are not Ethernet (IEEE 802.3, 64 bytes with the checksum).
  return frame.length < 60 ? Buffer.concat([frame, Buffer.alloc(60 - frame.length)]) : frame;
}

/** RFC 826. @param operation 1 request, 2 reply. */
function arpFrame(to: Buffer, operation: number, ours: Buffer, theirMac: Buffer, theirs: Buffer): Buffer {
  const body = Buffer.alloc(28);
  body.writeUInt16BE(1, 0);
  body.writeUInt16BE(IPV4, 2);
  body.writeUInt8(6, 4);
  body.writeUInt8(4, 5);
  body.writeUInt16BE(operation, 6);
  OUR_MAC.copy(body, 8);
  ours.copy(body, 14);
  theirMac.copy(body, 18);
  theirs.copy(body, 24);
  return ethernet(to, ARP, body);
}

let identification = 0;

/** An IPv4 packet (RFC 791) with a UDP datagram (RFC 768). */
export function udpPacket(
  from: Buffer,
  fromPort: number,
  to: Buffer,
  toPort: number,
  payload: Buffer,
): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt8(0x45, 0);
  head.writeUInt16BE(28 + payload.length, 2);
  identification = (identification + 1) & 0xffff;
  head.writeUInt16BE(identification, 4);
  head.writeUInt8(64, 8);
  head.writeUInt8(UDP, 9);
  from.copy(head, 12);
  to.copy(head, 16);
  head.writeUInt16BE(checksum(head), 10);
  const datagram = Buffer.alloc(8 + payload.length);
  datagram.writeUInt16BE(fromPort, 0);
  datagram.writeUInt16BE(toPort, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  payload.copy(datagram, 8);
  const pseudo = Buffer.from([...from, ...to, 0, UDP, datagram.length >> 8, datagram.length & 0xff]);
  datagram.writeUInt16BE(checksum(Buffer.concat([pseudo, datagram])) || 0xffff, 6);
  return Buffer.concat([head, datagram]);
}

/** The UDP datagram in an IPv4 packet for `ours`, or null. Fragments are not put together: nothing here needs them. */
export function parseUdp(packet: Buffer, ours: Buffer): { port: number; payload: Buffer } | null {
  if (packet.length < 28 || packet.readUInt8(0) >> 4 !== 4 || packet.readUInt8(9) !== UDP) return null;
  const start = (packet.readUInt8(0) & 0x0f) * 4;
  const fragment = packet.readUInt16BE(6) & 0x3fff;
  if (fragment !== 0 || !packet.subarray(16, 20).equals(ours) || packet.length < start + 8) return null;
  const length = packet.readUInt16BE(start + 4);
  if (length < 8 || start + length > packet.length) return null;
  return { port: packet.readUInt16BE(start + 2), payload: packet.subarray(start + 8, start + length) };
}

/** RFC 1071. */
export function checksum(data: Buffer): number {
  let sum = 0;
  for (let at = 0; at + 1 < data.length; at += 2) sum += data.readUInt16BE(at);
  if (data.length % 2 === 1) sum += data.readUInt8(data.length - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

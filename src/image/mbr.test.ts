import { describe, expect, it } from 'vitest';
import { decodeMbr, encodeMbr } from './mbr.js';

const entries = [
  { bootable: true, type: 0xef, start: 2048, sectors: 262144 },
  { bootable: false, type: 0x83, start: 264192, sectors: 1267712 },
  { bootable: false, type: 0x83, start: 20_000_000, sectors: 262144 },
];

describe('encodeMbr', () => {
  it('writes what decodeMbr reads', () => {
    const sector = encodeMbr(0x6331ffce, entries);
    expect(sector).toHaveLength(512);
    expect(decodeMbr(sector)).toEqual({ diskId: 0x6331ffce, entries });
  });
  it('puts cylinder, head and sector where old BIOSes look', () => {
    const sector = encodeMbr(1, entries);
    // LBA 2048 is head 32, sector 33 of cylinder 0.
    expect([...sector.subarray(447, 450)]).toEqual([32, 33, 0]);
    // Past 8 GiB there is only one value.
    expect([...sector.subarray(446 + 32 + 1, 446 + 32 + 4)]).toEqual([0xfe, 0xff, 0xff]);
  });
  it('keeps boot code out of the disk id and the table', () => {
    const sector = encodeMbr(0x01020304, entries, Buffer.alloc(512, 0xff));
    expect(sector.subarray(0, 440).every((byte) => byte === 0xff)).toBe(true);
    expect(sector.readUInt32LE(440)).toBe(0x01020304);
    expect(sector.readUInt16LE(444)).toBe(0);
  });
  it('refuses a fifth partition', () => {
    const [entry] = entries;
    expect(() => encodeMbr(1, Array(5).fill(entry) as never)).toThrow(RangeError);
  });
});

describe('decodeMbr', () => {
  it('says when there is no table', () => {
    expect(decodeMbr(Buffer.alloc(512))).toBeNull();
    expect(decodeMbr(Buffer.alloc(10))).toBeNull();
  });
});

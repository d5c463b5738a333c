/** e_machine of elf(5). */
export const MACHINES = { amd64: 62, arm64: 183 } as const;

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_NOTE = 4;
const NT_GNU_BUILD_ID = 3;
const DT_STRTAB = 5;
const DT_RPATH = 15;
const DT_RUNPATH = 29;

/** What the twins need to know of a program (elf(5), ELF-64, little endian). */
export interface Elf {
  readonly machine: number;
  /** Hex digits; null without one. */
  readonly buildId: string | null;
  /** Where the name of the dynamic loader stands; null in libraries and static programs. */
  readonly interpreter: { readonly offset: number; readonly size: number } | null;
  /** Folders in which it looks for its libraries by itself. */
  readonly runPaths: readonly string[];
}

/** `e_machine` of the first bytes of a file, or null when they do not begin an ELF file. */
export function elfMachine(head: Uint8Array): number | null {
  if (head.length < 20 || head[0] !== 0x7f || head[1] !== 0x45 || head[2] !== 0x4c || head[3] !== 0x46)
    return null;
  return (head[18] ?? 0) | ((head[19] ?? 0) << 8);
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly size: number;
}

/** Reads a whole file's headers; null when it is no ELF-64 file or is damaged. */
export function readElf(bytes: Buffer): Elf | null {
  const machine = elfMachine(bytes);
  if (machine === null || bytes[4] !== 2 || bytes[5] !== 1 || bytes.length < 64) return null;
  try {
    const segments = segmentsOf(bytes);
    const found = segments.find((one) => one.type === PT_INTERP);
    return {
      machine,
      buildId: buildIdOf(bytes, segments),
      interpreter: found === undefined ? null : { offset: found.offset, size: found.size },
      runPaths: runPathsOf(bytes, segments),
    };
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function segmentsOf(bytes: Buffer): Segment[] {
  const start = Number(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  return Array.from({ length: bytes.readUInt16LE(56) }, (_, index) => {
    const at = start + index * size;
    return {
      type: bytes.readUInt32LE(at),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      address: Number(bytes.readBigUInt64LE(at + 16)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
    };
  });
}

function buildIdOf(bytes: Buffer, segments: readonly Segment[]): string | null {
  for (const { type, offset, size } of segments) {
    if (type !== PT_NOTE) continue;
    for (let at = offset; at + 12 <= offset + size;) {
      const [name, length, kind] = [0, 4, 8].map((field) => bytes.readUInt32LE(at + field)) as [
        number,
        number,
        number,
      ];
      const content = at + 12 + Math.ceil(name / 4) * 4;
      if (kind === NT_GNU_BUILD_ID && bytes.toString('latin1', at + 12, at + 12 + name) === 'GNU\0')
        return bytes.toString('hex', content, content + length);
      at = content + Math.ceil(length / 4) * 4;
    }
  }
  return null;
}

function runPathsOf(bytes: Buffer, segments: readonly Segment[]): string[] {
  const dynamic = segments.find((one) => one.type === PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const entries: (readonly [tag: number, value: number])[] = [];
  for (let at = dynamic.offset; at + 16 <= dynamic.offset + dynamic.size; at += 16) {
    const tag = Number(bytes.readBigInt64LE(at));
    if (tag === 0) break;
    entries.push([tag, Number(bytes.readBigUInt64LE(at + 8))]);
  }
  const address = entries.find(([tag]) => tag === DT_STRTAB)?.[1];
  const home = segments.find(
    (one) =>
      one.type === PT_LOAD &&
      address !== undefined &&
      address >= one.address &&
      address < one.address + one.size,
  );
  if (address === undefined || home === undefined) return [];
  const table = address - home.address + home.offset;
  return entries
    .filter(([tag]) => tag === DT_RPATH || tag === DT_RUNPATH)
    .flatMap(([, value]) => {
      const from = table + value;
      return bytes.toString('latin1', from, bytes.indexOf(0, from)).split(':');
    });
}

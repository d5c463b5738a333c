/** Memory as a person writes it ("1 GiB", "512 MB") in MiB, or null. RAM is sold in powers of two, so GB means GiB. */
export function parseMemory(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*(M|G)i?B?$/i.exec(text.trim());
  if (!match) return null;
  const value = Number(match[1]) * (match[2]?.toUpperCase() === 'G' ? 1024 : 1);
  return Number.isInteger(value) && value > 0 && value <= 1024 * 1024 ? value : null;
}

const GIGABYTES: Readonly<Record<string, number>> = {
  GB: 1,
  G: 1,
  TB: 1000,
  T: 1000,
  GIB: 1.073741824,
  TIB: 1099.511627776,
};

/** Size of a card or disk ("16 GB", "1 TB", "32 GiB") in whole GB (10^9 bytes, rounded down), or null. */
export function parseStorage(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([GT](?:i?B)?)$/i.exec(text.trim());
  const factor = GIGABYTES[match?.[2]?.toUpperCase() ?? ''];
  if (!match || factor === undefined) return null;
  const value = Math.floor(Number(match[1]) * factor);
  return value > 0 && value <= 100_000 ? value : null;
}

/** A length of time ("12 hours", "2 days", "12h") in whole hours, or null. */
export function parseHours(text: string): number | null {
  const match = /^(\d{1,4})\s*(h|hours?|d|days?)$/i.exec(text.trim());
  if (!match) return null;
  return Number(match[1]) * (match[2]?.toLowerCase().startsWith('d') ? 24 : 1);
}

/** MiB in words: "512 MiB", "2 GiB". */
export function memoryWords(mebibytes: number): string {
  return mebibytes % 1024 === 0 ? `${mebibytes / 1024} GiB` : `${mebibytes} MiB`;
}

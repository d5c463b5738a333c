const EMPTY = -1;

/** Weight of a character in the non-digit part of a version: `~` before the end of it, letters before the rest. */
function weight(char: string | undefined): number {
  if (char === undefined || /\d/.test(char)) return EMPTY;
  if (char === '~') return EMPTY - 1;
  return /[A-Za-z]/.test(char) ? char.charCodeAt(0) : char.charCodeAt(0) + 256;
}

function compareParts(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !/\d/.test(a[i] ?? '')) || (j < b.length && !/\d/.test(b[j] ?? ''))) {
      const difference = weight(a[i]) - weight(b[j]);
      if (difference !== 0) return Math.sign(difference);
      i += 1;
      j += 1;
    }
    const [left, right] = [/^\d*/.exec(a.slice(i))?.[0] ?? '', /^\d*/.exec(b.slice(j))?.[0] ?? ''];
    const difference = Number(left || 0) - Number(right || 0);
    if (difference !== 0) return Math.sign(difference);
    i += left.length;
    j += right.length;
  }
  return 0;
}

/** Order of two Debian versions (deb-version(7)): negative when `a` is the older one. */
export function compareVersions(a: string, b: string): number {
  const split = (version: string): [number, string, string] => {
    const [, epoch = '0', rest = ''] = /^(?:(\d+):)?(.*)$/.exec(version) ?? [];
    const dash = rest.lastIndexOf('-');
    return dash < 0 ? [Number(epoch), rest, ''] : [Number(epoch), rest.slice(0, dash), rest.slice(dash + 1)];
  };
  const [left, right] = [split(a), split(b)];
  return Math.sign(left[0] - right[0]) || compareParts(left[1], right[1]) || compareParts(left[2], right[2]);
}

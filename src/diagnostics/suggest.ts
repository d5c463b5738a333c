/** Edit distance with swapped neighbours counted once (optimal string alignment). */
export function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    const above = rows[i - 1] ?? [];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, (rows[i - 2]?.[j - 2] ?? 0) + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? Math.max(a.length, b.length);
}

/**
 * The known word a person most likely meant, or undefined when none is near.
 * Capitals, `_`, `-` and blanks do not count as mistakes; two words equally near are no suggestion.
 */
export function suggest(written: string, known: readonly string[]): string | undefined {
  if (written.length > 64) return undefined;
  const plain = (word: string): string => word.toLowerCase().replace(/[-_\s]/g, '');
  const wanted = plain(written);
  if (wanted === '') return undefined;
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const word of known) {
    const target = plain(word);
    const allowed = Math.floor(Math.max(wanted.length, target.length) / 3);
    const found = distance(wanted, target);
    if (found > allowed || found > bestDistance) continue;
    best = found === bestDistance && found > 0 ? undefined : word;
    bestDistance = found;
  }
  return best;
}

/** `did you mean "x"?`, or undefined. */
export function didYouMean(written: string, known: readonly string[]): string | undefined {
  const word = suggest(written, known);
  return word === undefined ? undefined : `did you mean "${word}"?`;
}

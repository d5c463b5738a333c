import { cells } from '../../diagnostics/text.js';

/** How many columns a text takes on a terminal; colour codes take none. */
export function textWidth(text: string): number {
  // eslint-disable-next-line no-control-regex -- SGR codes begin with the escape character.
  const bare = text.replace(/\u001b\[[0-9;]*m/g, '');
  return [...bare].reduce((width, character) => width + cells(character), 0);
}

/**
 * Rows with their columns in line; the last column is never padded.
 * @param indent spaces before each row.
 * @param gap spaces between columns.
 */
export function table(rows: readonly (readonly string[])[], indent = 0, gap = 2): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, textWidth(cell));
    });
  return rows
    .map((row) => {
      const cells = row.map((cell, index) =>
        index === row.length - 1 ? cell : cell + ' '.repeat((widths[index] ?? 0) - textWidth(cell) + gap),
      );
      return (' '.repeat(indent) + cells.join('')).trimEnd();
    })
    .join('\n');
}

/** Wraps a sentence at `width` columns; words are never cut. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && textWidth(line) + 1 + textWidth(word) > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines;
}

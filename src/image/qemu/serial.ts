import { open } from 'node:fs/promises';

/** Escape sequences and control characters of a terminal. */
// eslint-disable-next-line no-control-regex -- that is what they are
const CONTROLS = /\u001b\[[0-9;?=!]*[ -/]*[@-~]|\u001b[@-Z\\-_]|[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** One line as a person reads it. */
export function plainLine(text: string): string {
  return text.replace(CONTROLS, '').trimEnd();
}

export interface Follower {
  /** Reads what has come since. */
  poll(): Promise<void>;
  /** The last lines seen, oldest first. */
  tail(): readonly string[];
}

const KEPT = 40;

/** Follows a growing log; calls `onLine` for each whole line. */
export function followLog(path: string, onLine: (line: string) => void): Follower {
  let position = 0;
  let rest = '';
  const last: string[] = [];
  return {
    tail: () => [...last, ...(plainLine(rest) === '' ? [] : [plainLine(rest)])],
    async poll() {
      const file = await open(path, 'r').catch(() => null);
      if (file === null) return;
      try {
        const buffer = Buffer.alloc(1 << 16);
        for (;;) {
          const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
          if (bytesRead === 0) return;
          position += bytesRead;
          const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split(/\r*\n/);
          rest = lines.pop() ?? '';
          for (const line of lines.map(plainLine).filter((text) => text !== '')) {
            last.push(line);
            if (last.length > KEPT) last.shift();
            onLine(line);
          }
        }
      } finally {
        await file.close();
      }
    },
  };
}

/** What a line of the console says about how far the kit is, in words; null: nothing. */
export function milestone(line: string): string | null {
  for (const [pattern, text] of MILESTONES) if (pattern.test(line)) return text;
  return null;
}

const MILESTONES: readonly (readonly [RegExp, string])[] = [
  [/Booting `|GRUB/, 'the boot loader runs'],
  [/Linux version \d/, 'the kernel starts'],
  [/Run \/init as init process|Begin: Running \/scripts/, 'the root file system is looked for'],
  [/systemd\[1\]: (Inserted|Detected|systemd \d)|Welcome to Debian/, 'the system starts'],
  [/Reached target (network|local-fs|basic|sysinit|multi-user)/i, 'services start'],
  [/ login: ?$/, 'the login prompt is there'],
];

/** A line after which waiting has no use. */
export function isHopeless(line: string): boolean {
  return /Kernel panic|You are in emergency mode|Cannot open access to console|ALERT!.*does not exist|No bootable device/.test(
    line,
  );
}

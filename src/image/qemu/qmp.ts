import { connect } from 'node:net';
import { WorkError } from '../../diagnostics/errors.js';

interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly QMP?: unknown;
}

/**
 * One command to QEMU's control socket (QEMU Machine Protocol): greeting, `qmp_capabilities`, the command.
 * @throws WorkError when QEMU does not answer within `timeoutMs` or refuses.
 */
export function qmpCommand(
  socketPath: string,
  command: string,
  args: Readonly<Record<string, unknown>> = {},
  timeoutMs = 5000,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      finish();
    };
    const fail = (problem: string): void => end(() => reject(new WorkError(`QEMU: ${command}: ${problem}`)));
    const timer = setTimeout(() => fail('no answer'), timeoutMs);
    const pending = ['qmp_capabilities', command];
    const next = (): void => {
      const execute = pending[0];
      if (execute !== undefined) {
        socket.write(`${JSON.stringify({ execute, ...(execute === command ? { arguments: args } : {}) })}\n`);
      }
    };
    let rest = '';
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('QEMU has ended'));
    socket.on('data', (chunk) => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const message = JSON.parse(line) as QmpMessage;
        if (message.error) return fail(message.error.desc);
        if (message.QMP !== undefined) next();
        else if ('return' in message) {
          pending.shift();
          if (pending.length === 0) return end(() => resolve(message.return));
          next();
        }
      }
    });
  });
}

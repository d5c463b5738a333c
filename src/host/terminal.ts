import { spawn } from 'node:child_process';

/**
 * Runs a program that may ask the person something (sudo's password): it keeps the terminal, and both its
 * outputs go to standard error, because standard output is for data.
 * @returns its exit code, or 1 when it could not be started or a signal ended it.
 */
export function runOnTerminal(argv: readonly string[]): Promise<number> {
  const [program, ...args] = argv;
  if (program === undefined) throw new Error('run of nothing');
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['inherit', 2, 2] });
    child.on('error', () => resolve(1));
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

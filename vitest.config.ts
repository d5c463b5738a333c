import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// unit: pure and quick, part of `npm run check`.
// real: real programs on loopback (apt, Prosody, coturn, OpenSSH, Chromium …), minutes.
// kit: images built and booted, some minutes each; two side by side, since a booting kit mostly waits for one processor.
// long: what takes an hour or more, before a release: `bin/test long`.
export default defineConfig({
  test: {
    pool: 'forks',
    poolOptions: { forks: { maxForks: Math.min(4, Math.max(2, availableParallelism())) } },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'src/**/*.test.tsx', 'test/unit/**/*.test.ts'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'real',
          include: ['test/real/**/*.test.ts'],
          // Each file has a network and mounts of its own, so files can run beside each other.
          globalSetup: ['test/helpers/real-setup.ts'],
          testTimeout: 300_000,
          hookTimeout: 600_000,
        },
      },
      {
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          testTimeout: 7_200_000,
          hookTimeout: 600_000,
          pool: 'forks',
          poolOptions: { forks: { singleFork: true } },
        },
      },
      {
        test: {
          name: 'kit',
          include: ['test/kit/**/*.test.ts'],
          testTimeout: 1_800_000,
          hookTimeout: 2_400_000,
          pool: 'forks',
        },
      },
    ],
  },
});

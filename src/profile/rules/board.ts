import { fault } from '../../diagnostics/diagnostic.js';
import type { Board } from '../../services/contract.js';
import { memoryWords, parseMemory } from '../units.js';
import { listed, quoted } from '../../diagnostics/text.js';
import type { Rule } from './rule.js';

/** What people call the boards. */
export const BOARD_NAMES: Readonly<Record<Board, string>> = {
  zero2w: 'Raspberry Pi Zero 2 W',
  pi3: 'Raspberry Pi 3',
  pi4: 'Raspberry Pi 4',
  pi5: 'Raspberry Pi 5',
  pc: 'PC',
};

/** Memory each board is sold with, MiB; a PC has what it has. */
const MODELS: Readonly<Record<Board, readonly number[]>> = {
  zero2w: [512],
  pi3: [512, 1024],
  pi4: [1024, 2048, 3072, 4096, 8192],
  pi5: [1024, 2048, 3072, 4096, 8192, 16384],
  pc: [],
};
const LEAST_PC = 512;

/** The base system runs on the board. */
export const base: Rule = (written) => {
  const path = ['base'];
  if (written.board === 'pi5' && written.base === 'debian') {
    return [
      fault(
        'profile/base',
        "Debian's own kernel cannot start a Raspberry Pi 5: it has no driver for its card slot",
        path,
        'write "base: raspberry-pi-os", or leave the line out',
      ),
    ];
  }
  if (written.board === 'pc' && written.base === 'raspberry-pi-os') {
    return [
      fault(
        'profile/base',
        'raspberry-pi-os is for Raspberry Pi boards, and this kit is a PC',
        path,
        'write "base: debian", or leave the line out',
      ),
    ];
  }
  return [];
};

/** The board has a socket for the network it shall join. */
export const wired: Rule = (written) =>
  written.board === 'zero2w' && written.network.mode === 'lan'
    ? [
        fault(
          'profile/no-cable',
          'a Raspberry Pi Zero 2 W has no network socket, so it cannot join a wired network',
          ['network', 'mode'],
          'write "mode: access-point" with the "wifi" settings, or take another board',
        ),
      ]
    : [];

/** The memory is one the board is sold with. */
export const memory: Rule = (written) => {
  if (written.memory === undefined) return [];
  const path = ['memory'];
  const size = parseMemory(written.memory);
  if (size === null) {
    return [
      fault(
        'profile/size',
        `${quoted(written.memory)} is not an amount of memory`,
        path,
        'a number and its unit: memory: 2 GiB',
      ),
    ];
  }
  if (written.board === 'pc') {
    return size < LEAST_PC
      ? [
          fault(
            'profile/memory',
            `a PC needs at least ${memoryWords(LEAST_PC)} of memory`,
            path,
            'take another PC',
          ),
        ]
      : [];
  }
  const models = MODELS[written.board];
  if (models.includes(size)) return [];
  const sold = listed(models.map(memoryWords));
  return [
    fault(
      'profile/memory',
      `there is no ${BOARD_NAMES[written.board]} with ${memoryWords(size)} of memory`,
      path,
      `it has ${sold}`,
    ),
  ];
};

import type { Base, Board } from '../../services/contract.js';
import { ROOT_LABEL } from '../layout.js';

/**
 * The kernel's command line (Documentation/admin-guide/kernel-parameters.rst), without `quiet`.
 * The last console is where the system talks to people: the screen. The first is the serial port, for those who help them.
 */
export function kernelCommandLine(board: Board, base: Base): string {
  return [
    `console=${serialPort(board, base)},115200`,
    'console=tty0',
    `root=LABEL=${ROOT_LABEL}`,
    'rootfstype=ext4',
    // Nobody is there to answer fsck's questions.
    'fsck.repair=yes',
    'rootwait',
    // Nobody is there to switch it off and on again.
    'panic=10',
    // eth0 and wlan0 on every board.
    'net.ifnames=0',
    // Raspberry Pi OS's kernel leaves out memory limits of services unless asked.
    ...(base === 'raspberry-pi-os' ? ['cgroup_enable=memory'] : []),
  ].join(' ');
}

function serialPort(board: Board, base: Base): string {
  if (board === 'pc') return 'ttyS0';
  // Raspberry Pi's firmware puts the board's own port in the place of serial0 when its own device tree is used. With
  // Debian's it is the small UART, as the hook of Debian's raspi-firmware has it.
  return base === 'raspberry-pi-os' ? 'serial0' : 'ttyS1';
}

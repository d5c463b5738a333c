import { WorkError } from '../../diagnostics/errors.js';
import type { Base, Board } from '../../services/contract.js';
import { kernelCommandLine } from './cmdline.js';
import { sortedFiles, type BootFile, type BootInput, type BootPlan, type RenderBootText } from './types.js';

/** Firmware of Zero 2 W, Pi 3 and Pi 4. All three are put on every such card, so that it also boots the spare board. */
const FIRMWARE = ['bootcode.bin', 'start.elf', 'fixup.dat', 'start4.elf', 'fixup4.dat'] as const;

/**
 * What the boot partition of a Raspberry Pi holds (raspberrypi.com/documentation/computers/config_txt.html and
 * configuration.html#boot-folder-contents). Zero 2 W, 3 and 4 load start*.elf from it; a Pi 5 has its firmware in its EEPROM.
 * @param inputs the files of the base layer's boot folder.
 * @throws WorkError when one is missing.
 */
export function piBoot(
  board: Exclude<Board, 'pc'>,
  base: Base,
  inputs: readonly BootInput[],
  render: RenderBootText,
): BootPlan {
  const sizes = new Map(inputs.map((file) => [file.path, file.size]));
  const take = (from: string, path: string): BootFile => {
    const size = sizes.get(from);
    if (size === undefined) {
      throw new WorkError(`the base layer has no ${from} for board ${board}`, {
        hint:
          board === 'pi5' && base === 'debian'
            ? 'a Raspberry Pi 5 needs "base: raspberry-pi-os"'
            : 'delete the folder "layers" in the offline cache and build again',
      });
    }
    return { path, from, size };
  };
  const below = (folder: string, wanted: RegExp, to: string): readonly BootFile[] =>
    inputs
      .filter((file) => file.path.startsWith(folder) && wanted.test(file.path.slice(folder.length)))
      .map((file) => ({ path: to + file.path.slice(folder.length), from: file.path, size: file.size }));

  // Raspberry Pi's kernel for the 5 has pages of 16 KiB; the general one runs there too.
  const flavour = board === 'pi5' && sizes.has('vmlinuz-2712') ? '-2712' : '';
  const trees = below(
    `dtbs${flavour}/`,
    board === 'pi5' ? /^bcm2712[^/]*\.dtb$/ : /^bcm(2710|2711|2837)[^/]*\.dtb$/,
    '/',
  );
  if (trees.length === 0) take(`dtbs${flavour}/bcm*.dtb`, '/');
  const overlays = below('overlays/', /^[^/]+\.(dtbo|dtb)$/, '/overlays/');
  const downstream = base === 'raspberry-pi-os';
  return {
    files: sortedFiles([
      take(`vmlinuz${flavour}`, '/vmlinuz'),
      take(`initrd${flavour === '' ? '.img' : `${flavour}.img`}`, '/initrd.img'),
      ...trees,
      ...(downstream ? overlays : []),
      ...(board === 'pi5' ? [] : FIRMWARE.map((name) => take(`firmware/${name}`, `/${name}`))),
      { path: '/config.txt', text: render('pi/config.txt', { downstream, pi5: board === 'pi5' }) },
      {
        path: '/cmdline.txt',
        text: render('pi/cmdline.txt', { commandLine: kernelCommandLine(board, base) }),
      },
    ]),
    bios: null,
  };
}

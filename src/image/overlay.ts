import { WorkError } from '../diagnostics/errors.js';
import type { TarMember } from './types.js';

/**
 * What mke2fs does with joined tars, kept from going wrong: a later file or link replaces an earlier one, and a folder takes
 * the later mode and owner. But a folder does not replace a link (nothing happens), a file in the place of a folder leaves a
 * broken file system, and a path that leads through a link ends mke2fs. None of these may reach it.
 * @throws WorkError that names the path.
 */
export function checkOverlay(parts: readonly { readonly members: readonly TarMember[] }[]): void {
  const seen = new Map<string, TarMember['type']>([['', 'd']]);
  for (const { members } of parts) {
    for (const { path, type } of members) {
      const before = seen.get(path);
      if (before !== undefined && (before === 'd') !== (type === 'd')) {
        throw new WorkError(
          `/${path} is a ${type === 'd' ? 'folder' : 'file'} of the site and a ${before === 'd' ? 'folder' : 'file or link'} of the packages`,
          { hint: 'give the file in the service another path' },
        );
      }
      const above = parent(path);
      const folder = seen.get(above);
      if (path !== '' && folder !== 'd') {
        throw new WorkError(
          folder === undefined
            ? `/${path} has no folder: /${above} is not part of the image`
            : `/${path} leads through /${above}, which is a link`,
          { hint: 'give the file in the service the real path, with its folders' },
        );
      }
      seen.set(path, type);
    }
  }
}

function parent(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

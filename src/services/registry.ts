import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Service } from './contract.js';

let loaded: Promise<readonly Service[]> | undefined;

/** Every service that has a folder here, sorted by id. A new folder with a `service.ts` is a new service. */
export function loadServices(): Promise<readonly Service[]> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<readonly Service[]> {
  const here = new URL('./', import.meta.url);
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const ids = readdirSync(fileURLToPath(here), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  return Promise.all(
    ids.map(async (id) => {
      const module = (await import(/* @vite-ignore */ new URL(`${id}/service.${ending}`, here).href)) as {
        service: Service;
      };
      if (module.service.id !== id)
        throw new Error(`service folder ${id} declares the id ${module.service.id}`);
      return module.service;
    }),
  );
}

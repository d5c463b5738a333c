import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { packageRoot } from '../../host/paths.js';
import { requestDigest, setsForHost } from '../../mirror/request.js';
import { hostArch, loadProject, requestOf } from './project.js';

const real = process.arch;
const on = (arch: string): unknown => Object.defineProperty(process, 'arch', { value: arch });
afterEach(() => on(real));

it.each(['quickstart', 'clinic'])('the request of %s is the same on every machine', async (name) => {
  const { plan } = await loadProject(join(packageRoot(), `profiles/${name}.yaml`));
  const asked = ['x64', 'arm64'].map((arch) => {
    on(arch);
    const request = requestOf(plan);
    return {
      digest: requestDigest(request),
      sets: setsForHost(request.sets, hostArch()).map(({ id }) => id),
    };
  });
  expect(asked[0]?.digest).toBe(asked[1]?.digest);
  expect(asked[0]?.sets).toContain('tools-amd64');
  expect(asked[0]?.sets).not.toContain('tools-arm64');
  expect(asked[1]?.sets).toContain('tools-arm64');
  expect(asked[1]?.sets).toEqual(expect.arrayContaining(['system', 'boot']));
});

import { canonicalJson, sha256 } from '../host/files.js';
import type { Lock, LockPackage } from '../mirror/types.js';
import type { Plan } from '../plan/types.js';
import { NPM_SET, wheelsSet } from '../services/contract.js';
import type { Manifest, Stage, StageFile, StagePackage } from './types.js';

type BaseOptions = Extract<Stage, { type: 'base' }>['options'];

/** Changes when the base layer's hooks or options change in a way its inputs do not show. */
export interface ManifestInputs {
  readonly plan: Plan;
  readonly lock: Lock;
  /** Id of the tools set in the lock. */
  readonly toolsSet: string;
  /** sha256 over the base layer's hooks. */
  readonly recipe: string;
  readonly initramfs: { readonly conf: string; readonly hook: string };
  /** sha256 over what the boot partition is told to say. */
  readonly boot: string;
  /** sha256 over the templates of the plan. */
  readonly templates: string;
  /** Canonical text of the image layout's inputs. */
  readonly layout: string;
}

/** Kept out of every image: documentation (licences stay), translations of programs no person on site runs. */
export const EXCLUDES: readonly string[] = [
  '/usr/share/doc/*',
  '/usr/share/man/*',
  '/usr/share/info/*',
  '/usr/share/locale/*',
  '/usr/share/lintian/*',
  '/usr/share/bug/*',
  '/usr/share/i18n/locales/*',
];

type Bare = Stage extends infer S ? (S extends Stage ? Omit<S, 'id'> : never) : never;

/**
 * Plan + lock = ordered stages. Stage ids chain: sha256 over the id before, type and options.
 * The base layer hangs on the packages alone, not on the tools that unpack them: every host gives the same bytes.
 */
export function makeManifest(inputs: ManifestInputs): Manifest {
  const { plan, lock } = inputs;
  const set = (id: string): readonly LockPackage[] => lock.sets[id] ?? [];
  const bare: Bare[] = [
    { type: 'tools', options: { packages: set(inputs.toolsSet).map(identity) } },
    {
      type: 'base',
      options: {
        recipe: inputs.recipe,
        arch: plan.site.arch,
        epoch: lock.epoch,
        packages: set('system').map(identity),
        boot: set('boot').map(identity),
        users: plan.users.map(({ name, home, shell, groups }) => ({ name, home, shell, groups })),
        initramfs: inputs.initramfs,
        excludes: EXCLUDES,
        ...artifactOptions(plan, lock),
      },
    },
    {
      type: 'disk',
      options: {
        board: plan.site.board,
        base: plan.site.base,
        layout: inputs.layout,
        boot: inputs.boot,
      },
    },
    {
      type: 'site',
      options: { plan: sha256(canonicalJson(plan)), templates: inputs.templates, files: plan.files.length },
    },
    { type: 'image', options: { layout: inputs.layout } },
  ];
  const stages: Stage[] = [];
  let before = 'commeshctl 1';
  for (const stage of bare) {
    const id = sha256(`${before}\n${stage.type}\n${canonicalJson(stage.options)}`);
    stages.push({ id, ...stage } as Stage);
    // Tools of different hosts differ in bytes, never in what they make.
    if (stage.type !== 'tools') before = id;
  }
  return { format: 1, site: plan.site.name, epoch: lock.epoch, stages, id: before };
}

function identity(one: LockPackage): StagePackage {
  return { name: one.name, version: one.version, arch: one.arch, sha256: one.sha256 };
}

function artifactOptions(plan: Plan, lock: Lock): Pick<BaseOptions, 'wheels' | 'tarballs'> {
  const files = (set: string): StageFile[] =>
    (lock.artifacts?.[set] ?? []).map(({ name, version, sha256 }) => ({ name, version, sha256 }));
  const packages = files(NPM_SET);
  return {
    ...(plan.wheels.length === 0
      ? {}
      : {
          wheels: plan.wheels.map(({ id, provided }) => ({
            id,
            system: provided.length > 0,
            files: files(wheelsSet(id)),
          })),
        }),
    ...(plan.tarballs.length === 0
      ? {}
      : {
          tarballs: plan.tarballs.flatMap((wish) =>
            packages
              .filter(({ name }) => name === wish.name)
              .map((one) => ({ ...one, files: wish.files.map(({ from, to }) => ({ from, to })) })),
          ),
        }),
  };
}

/** The stage of a type. */
export function stageOf<T extends Stage['type']>(manifest: Manifest, type: T): Extract<Stage, { type: T }> {
  const stage = manifest.stages.find((one) => one.type === type);
  if (stage === undefined) throw new Error(`the manifest has no ${type} stage`);
  return stage as Extract<Stage, { type: T }>;
}

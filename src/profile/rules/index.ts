import { address } from './address.js';
import { backup } from './backup.js';
import { base, memory, wired } from './board.js';
import { dhcp } from './dhcp.js';
import { domain } from './domain.js';
import { federation } from './federation.js';
import { languages } from './languages.js';
import { mirror } from './mirror.js';
import { name } from './name.js';
import { people } from './people.js';
import type { Rule } from './rule.js';
import { sshKeys } from './ssh-keys.js';
import { storage } from './storage.js';
import { timezone } from './timezone.js';
import { wifi } from './wifi.js';

/** Every rule a profile is held against once it fits the schema. */
export const RULES: readonly Rule[] = [
  name,
  domain,
  languages,
  timezone,
  base,
  wired,
  memory,
  storage,
  mirror,
  people,
  address,
  dhcp,
  wifi,
  sshKeys,
  backup,
  federation,
];

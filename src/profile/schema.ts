import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { Diagnostic } from '../diagnostics/diagnostic.js';
import type { JsonSchema, Service } from '../services/contract.js';
import { explainErrors } from './messages.js';

const text = (description: string, example: string): JsonSchema => ({
  type: 'string',
  minLength: 1,
  maxLength: 200,
  description,
  examples: [example],
});

const map = (
  description: string,
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = [],
): JsonSchema => ({ type: 'object', description, additionalProperties: false, required, properties });

/** Either true/false or a map of settings, with only one of the two complained about. */
const switchOr = (schema: JsonSchema): JsonSchema => ({
  ...(schema['description'] === undefined ? {} : { description: schema['description'] }),
  if: { type: 'boolean' },
  then: true,
  else: schema,
});

const count = (description: string, minimum: number, maximum: number, example: number): JsonSchema => ({
  type: 'integer',
  minimum,
  maximum,
  description,
  examples: [example],
});

const choice = (description: string, ...values: readonly string[]): JsonSchema => ({
  type: 'string',
  enum: values,
  description,
  examples: [values[0]],
});

const SITE = map(
  'who this kit is for',
  {
    name: text('short name of the site, used in host names and file names', 'clinic'),
    title: { ...text('name of the site as people read it', 'Clinic of Kalembe'), maxLength: 64 },
    domain: text('domain of the kit; the usual one ends in .home.arpa', 'clinic.home.arpa'),
    languages: {
      type: 'array',
      minItems: 1,
      maxItems: 10,
      uniqueItems: true,
      items: text('a language tag', 'en'),
      description: 'languages of the people, the main one first',
      examples: [['en', 'fr']],
    },
    timezone: text('time zone of the place', 'Africa/Nairobi'),
  },
  ['name', 'title'],
);

const WIFI = map(
  "the kit's own Wi-Fi",
  {
    country: text('two-letter code of the country the kit is used in', 'KE'),
    ssid: text('name of the Wi-Fi network', 'clinic'),
    channel: count('radio channel', 1, 196, 6),
    passphrase: text('passphrase of the Wi-Fi; leave it out and a good one is made', 'four plain words here'),
  },
  ['country'],
);

const NETWORK = map(
  'how people reach the kit',
  {
    mode: choice(
      "access-point: the kit's own Wi-Fi; lan: a router or a wired network",
      'access-point',
      'lan',
    ),
    address: text("the kit's own address, with the size of the network", '10.77.0.1/24'),
    wifi: WIFI,
    dhcp: switchOr(
      map('addresses handed out to phones and computers', {
        from: text('first address handed out', '10.77.0.20'),
        to: text('last address handed out', '10.77.0.250'),
        lease: text('how long a device keeps its address', '12 hours'),
      }),
    ),
  },
  ['mode'],
);

const BACKUP = switchOr(
  map('daily backup', {
    enabled: { type: 'boolean', description: 'whether backups are made', examples: [true] },
    at: text('time of day', '02:30'),
    keep: map('how many backups are kept', {
      daily: count('daily backups kept', 0, 365, 7),
      weekly: count('weekly backups kept', 0, 520, 4),
      monthly: count('monthly backups kept', 0, 240, 6),
    }),
  }),
);

const ADMIN = map('the administrator', {
  keys: {
    type: 'array',
    maxItems: 50,
    items: {
      type: 'string',
      minLength: 1,
      maxLength: 20_000,
      description: 'a public SSH key',
      examples: ['ssh-ed25519 AAAA… name'],
    },
    description: 'public SSH keys that may log in as administrator',
    examples: [['ssh-ed25519 AAAA… name']],
  },
});

const FEDERATION: JsonSchema = {
  type: 'array',
  maxItems: 20,
  items: map(
    'a sister site',
    {
      domain: text('domain of the sister site', 'school.home.arpa'),
      address: text("the sister kit's address in this kit's network", '10.77.0.2'),
      ca: {
        type: 'string',
        minLength: 1,
        maxLength: 20_000,
        description: "the sister site's CA certificate: a file, or its text",
        examples: ['school.secrets/ca.crt'],
      },
    },
    ['domain', 'address', 'ca'],
  ),
  description: 'the only other kits whose people may write to the people of this one',
  examples: [[]],
};

/** JSON schema of a whole profile: its own settings and, below `services`, those of every optional service. */
export function profileSchema(services: readonly Service[]): JsonSchema {
  const optional = services.filter((service) => !service.always);
  return map(
    'a site profile',
    {
      site: SITE,
      board: choice('the machine the kit runs on', 'zero2w', 'pi3', 'pi4', 'pi5', 'pc'),
      memory: text('memory of the machine', '2 GiB'),
      storage: text('size of the card or disk', '16 GB'),
      base: choice('the system below', 'debian', 'raspberry-pi-os'),
      mirror: { ...text('where packages are fetched from', 'auto'), maxLength: 1000 },
      people: count('how many people will use the kit', 1, 500, 8),
      network: NETWORK,
      admin: ADMIN,
      backup: BACKUP,
      federation: FEDERATION,
      services: map(
        'what the kit offers',
        Object.fromEntries(
          optional.map((service) => [
            service.id,
            switchOr({ description: service.title, ...service.schema }),
          ]),
        ),
      ),
    },
    ['site', 'board', 'network'],
  );
}

const compiled = new WeakMap<readonly Service[], { schema: JsonSchema; validate: ValidateFunction }>();

function compile(services: readonly Service[]): { schema: JsonSchema; validate: ValidateFunction } {
  const known = compiled.get(services);
  if (known) return known;
  const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true, verbose: true });
  const schema = profileSchema(services);
  const made = { schema, validate: ajv.compile(schema) };
  compiled.set(services, made);
  return made;
}

/** What does not fit the schema, in words. */
export function checkSchema(data: unknown, services: readonly Service[]): readonly Diagnostic[] {
  const { schema, validate } = compile(services);
  if (validate(data)) return [];
  const always = services.filter((service) => service.always).map((service) => service.id);
  const told = explainErrors(validate.errors ?? [], { schema, data, always });
  if (told.length === 0)
    throw new Error(`no words for ${validate.errors?.map((error) => error.schemaPath).join(', ')}`);
  return told;
}

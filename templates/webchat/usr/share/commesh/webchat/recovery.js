// The identity of a new account. A server of its own makes an account without one; other apps refuse to trust, and some to write to,
// devices of such people. Made here, once: cross-signing keys, a backup of the keys of rooms, both locked with a recovery key that only
// the person has (Matrix specification, client-server API: "Cross-signing", "Server-side key backups", "Secrets").
import base64 from '/base64.js';
import canonical from '/canonical-json.js';

const unpadded = (bytes) => base64.encode(bytes).replace(/=+$/, '');
const random = (length) => crypto.getRandomValues(new Uint8Array(length));
const utf8 = (text) => new TextEncoder().encode(text);
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

function base58(bytes) {
  let number = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let text = '';
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text;
  return text;
}

/** A key as people write it: 0x8B 0x01, the key, parity; in groups of four ("Key representation"). */
export function readable(key) {
  const bytes = [0x8b, 0x01, ...key];
  return base58([...bytes, bytes.reduce((parity, byte) => parity ^ byte, 0)])
    .match(/.{1,4}/g)
    .join(' ');
}

/** Locks a text with the key under a name: m.secret_storage.v1.aes-hmac-sha2. */
async function lock(key, name, plain, iv = random(16)) {
  // A counter that cannot overflow on platforms that count with 64 bits.
  iv[8] &= 0x7f;
  const material = await crypto.subtle.importKey('raw', key, 'HKDF', false, ['deriveBits']);
  const how = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(32), info: utf8(name) };
  const bits = await crypto.subtle.deriveBits(how, material, 512);
  const aes = await crypto.subtle.importKey('raw', bits.slice(0, 32), 'AES-CTR', false, ['encrypt']);
  const hmac = await crypto.subtle.importKey('raw', bits.slice(32), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const ciphertext = await crypto.subtle.encrypt({ name: 'AES-CTR', counter: iv, length: 64 }, aes, plain);
  const mac = await crypto.subtle.sign('HMAC', hmac, ciphertext);
  return { iv: unpadded(iv), ciphertext: unpadded(ciphertext), mac: unpadded(mac) };
}

/** Speaks to the server for one account. */
function speaker({ homeserver, accessToken }) {
  return async (method, path, body) => {
    const response = await fetch(`${homeserver}/_matrix/client/v3/${path}`, {
      method,
      headers: { Authorization: `Bearer ${accessToken}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${path}: ${answer.errcode ?? response.status}`);
    return answer;
  };
}

/** Whether the account has no identity yet. */
export async function lacksIdentity(account) {
  const { master_keys: keys = {} } = await speaker(account)('POST', 'keys/query', {
    device_keys: { [account.userId]: [] },
  });
  return keys[account.userId] === undefined;
}

function crossSigningKeys(olm, userId) {
  const make = (usage) => {
    const seed = random(32);
    const signing = new olm.PkSigning();
    const key = signing.init_with_seed(seed);
    const content = { user_id: userId, usage: [usage], keys: { [`ed25519:${key}`]: key } };
    const sign = (object) => {
      const { signatures = {}, ...rest } = object;
      const own = { ...signatures[userId], [`ed25519:${key}`]: signing.sign(canonical.stringify(rest)) };
      return { ...object, signatures: { ...signatures, [userId]: own } };
    };
    return { seed, content, sign, free: () => signing.free() };
  };
  return { master: make('master'), self_signing: make('self_signing'), user_signing: make('user_signing') };
}

/** Makes the identity and locks it with `key`. `session` is the client's, for the keys of this device. */
export async function makeIdentity(account, session, olm, key) {
  const { userId, deviceId } = account;
  const ask = speaker(account);
  const device = session._e2eeAccount;
  const keys = crossSigningKeys(olm, userId);
  const backup = new olm.PkDecryption();
  try {
    const master = keys.master.content;
    device.signObject(master);
    await ask('POST', 'keys/device_signing/upload', {
      master_key: master,
      self_signing_key: keys.master.sign(keys.self_signing.content),
      user_signing_key: keys.master.sign(keys.user_signing.content),
    });
    await ask('POST', 'keys/signatures/upload', {
      [userId]: { [deviceId]: keys.self_signing.sign(device.getUnsignedDeviceKey()) },
    });
    const authData = { public_key: backup.generate_key() };
    device.signObject(authData);
    await ask('POST', 'room_keys/version', {
      algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2',
      auth_data: keys.master.sign(authData),
    });

    const id = unpadded(random(16)).replace(/\W/g, '0');
    const put = (type, content) => ask('PUT', `user/${encodeURIComponent(userId)}/account_data/${type}`, content);
    const { iv, mac } = await lock(key, '', new Uint8Array(32));
    await put(`m.secret_storage.key.${id}`, { algorithm: 'm.secret_storage.v1.aes-hmac-sha2', iv, mac });
    const secrets = [
      ...Object.entries(keys).map(([name, { seed }]) => [`m.cross_signing.${name}`, seed]),
      ['m.megolm_backup.v1', backup.get_private_key()],
    ];
    for (const [name, secret] of secrets)
      await put(name, { encrypted: { [id]: await lock(key, name, utf8(unpadded(secret))) } });
    // Last: with it other apps take the rest for complete.
    await put('m.secret_storage.default_key', { key: id });
  } finally {
    backup.free();
    for (const { free } of Object.values(keys)) free();
  }
}

const RECOVERY_KEY = 0;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Lets the client of this device use what was made, as soon as the server has told it. */
async function unlock(session, text) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await session.enableSecretStorage(RECOVERY_KEY, text);
    } catch (error) {
      if (tries === 30) throw error;
      await pause(1000);
    }
  }
}

const part = (name, content, more = {}) => Object.assign(document.createElement(name), { textContent: content, ...more });
const primary = (text) => part('button', text, { className: 'button-action primary' });
const secondary = (text) => part('button', text, { className: 'button-action secondary' });

/** Shows the dialog until it is closed. */
function show(dialog, title, ...rest) {
  const heading = part('h2', title, { id: 'recovery-title' });
  dialog.replaceChildren(heading, ...rest);
  dialog.setAttribute('aria-labelledby', heading.id);
  const closed = new Promise((resolve) => (dialog.onclose = resolve));
  if (!dialog.open) dialog.showModal();
  return closed;
}

function offerNew({ dialog, texts, account, session, olm }) {
  const key = random(32);
  const text = readable(key);
  const [done, later] = [primary(texts.done), secondary(texts.later)];
  const buttons = part('div', '', { className: 'buttons' });
  buttons.append(done, later);
  later.onclick = () => dialog.close();
  done.onclick = async () => {
    done.disabled = later.disabled = true;
    try {
      await makeIdentity(account, session, olm, key);
      await unlock(session, text);
      dialog.close();
    } catch (error) {
      console.error(error);
      later.disabled = false;
      void show(dialog, texts.title, part('p', texts.failed), later);
    }
  };
  const code = part('code', text, { dir: 'ltr' });
  return show(dialog, texts.title, part('p', texts.why), code, part('p', texts.write), buttons);
}

function askForOld({ dialog, texts, session, logger }) {
  const form = part('form', '', { method: 'dialog' });
  const label = part('label', texts.enter.label, { htmlFor: 'recovery-key' });
  const input = part('input', '', { id: 'recovery-key', dir: 'ltr', autocomplete: 'off', spellcheck: false });
  const problem = part('p', '', { role: 'alert' });
  const [done, later] = [primary(texts.enter.done), secondary(texts.later)];
  later.type = 'button';
  later.onclick = () => dialog.close();
  form.append(label, input, problem, done, later);
  form.onsubmit = async (event) => {
    event.preventDefault();
    done.disabled = true;
    try {
      await session.enableSecretStorage(RECOVERY_KEY, input.value.trim());
      await logger.run('sign own device', (log) => session.crossSigning.get()?.signOwnDevice(log));
      dialog.close();
    } catch (error) {
      console.warn(error);
      problem.textContent = texts.enter.wrong;
      input.focus();
    } finally {
      done.disabled = false;
    }
  };
  return show(dialog, texts.enter.title, part('p', texts.enter.why), form);
}

/**
 * A new account gets its identity, once its recovery key is written down; a further device is asked for the key once. "Later" leaves
 * everything as it is.
 */
export async function offerRecovery(context) {
  const { account, session } = context;
  if (await lacksIdentity(account)) return offerNew(context);
  const asked = `recovery-asked-${account.id}`;
  if (session.keyBackup.get() !== undefined || localStorage.getItem(asked) !== null) return;
  localStorage.setItem(asked, 'yes');
  return askForOld(context);
}

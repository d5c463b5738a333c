// Starts the Hydrogen client for this site's own server, and adds what a closed site needs: one server only, the site's languages, the
// way to an account.
import { FeatureFlag, FeatureSet, Platform, RootViewModel, ViewModel } from '/hydrogen.js';
import { createNavigation, createRouter } from '/hydrogen.js';
import { offerRecovery } from '/recovery.js';

const json = async (path) => (await fetch(path)).json();
const element = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });

/** The first language of the browser that the site has, else the site's own. */
function languageOf(languages) {
  const wanted = navigator.languages.map((tag) => tag.split('-')[0]);
  return wanted.find((tag) => languages.includes(tag)) ?? languages[0];
}

/** Texts of the client are template strings; the catalogue knows them with their gaps numbered: "Invite to {0}". */
function translate(texts) {
  const original = ViewModel.prototype.i18n;
  ViewModel.prototype.i18n = function i18n(parts, ...values) {
    if (!Array.isArray(parts)) return texts[parts] ?? original.call(this, [String(parts)]);
    const key = parts.reduce((text, part, index) => `${text}{${index - 1}}${part}`);
    const found = texts[key];
    if (found === undefined) return original.call(this, parts, ...values);
    return found.replace(/\{(\d+)\}/g, (_gap, index) => String(values[Number(index)]));
  };
}

/** In 0.3.1 the form for a new room reads the id of what `createRoom` gives, a promise: give it both. */
function mendCreateRoom(session) {
  const original = session.createRoom.bind(session);
  session.createRoom = (options) => {
    const before = new Set([...session.roomsBeingCreated].map(([id]) => id));
    const made = original(options);
    const [id] = [...session.roomsBeingCreated].map(([one]) => one).filter((one) => !before.has(one));
    return Object.assign(made, { id });
  };
}

/** The client with its server fixed. */
class SiteViewModel extends RootViewModel {
  _showLogin(loginToken) {
    super._showLogin(loginToken);
    this.loginViewModel.setHomeserver = async () => {};
  }

  _showSession(client) {
    mendCreateRoom(client.session);
    super._showSession(client);
    void this._offerRecovery(client);
  }

  async _offerRecovery(client) {
    try {
      const account = await this.platform.sessionInfoStorage.get(client.sessionId);
      const olm = await this.platform.loadOlm();
      const dialog = document.getElementById('recovery');
      dialog.dir = texts.dir;
      const { logger } = this.platform;
      await offerRecovery({ dialog, texts: texts.recovery, account, session: client.session, olm, logger });
    } catch (error) {
      console.error(error);
    }
  }
}

const config = await json('/config.json');
const language = languageOf(config.languages);
const texts = await json(`/i18n/${language}.json`);
document.documentElement.lang = texts.lang;
translate(texts.client);

const site = document.getElementById('site');
const welcome = document.getElementById('welcome');
welcome.dir = texts.dir;
welcome.append(
  element('p', `${texts.noAccount} `),
  element('p', texts.otherDevice),
);
welcome.firstChild.append(element('a', texts.register, { href: `/join/${language}/` }));

const container = document.getElementById('app');
const needed = [
  ['serviceWorker' in navigator, texts.needs.secure],
  ['indexedDB' in window && 'WebAssembly' in window, texts.needs.browser],
].find(([there]) => !there);
if (needed) {
  container.append(element('p', needed[1], { className: 'fault', dir: texts.dir }));
} else {
  const platform = new Platform({
    container,
    config,
    assetPaths: {
      downloadSandbox: '/assets/download-sandbox.html',
      serviceWorker: '/sw.js',
      olm: { wasm: '/olm.wasm', wasmBundle: '/olm.js', legacyBundle: '/olm.js' },
    },
  });
  await platform.init();
  const navigation = createNavigation();
  platform.setNavigation(navigation);
  const urlRouter = createRouter({ navigation, history: platform.history });
  urlRouter.attach();
  const features = (await FeatureSet.load(platform.settingsStorage)).withFeature(FeatureFlag.CrossSigning);
  const model = new SiteViewModel({ platform, urlRouter, navigation, features });
  const showWelcome = () => {
    const login = model.activeSection === 'login';
    site.hidden = !login;
    welcome.hidden = !login;
  };
  model.on('change', showWelcome);
  await model.load();
  platform.createAndMountRootView(model);
  showWelcome();
}

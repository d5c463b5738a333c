// Makes an account with an invitation: POST /_matrix/client/v3/register (Matrix specification, client-server API, "Account registration")
// with the stage m.login.registration_token. The invitation may stand in the address behind "#", which no server ever sees.
const form = document.getElementById('join');
const { token, name, password, show } = Object.fromEntries(
  ['token', 'name', 'password', 'show'].map((id) => [id, document.getElementById(id)]),
);
const problem = document.getElementById('problem');
const texts = JSON.parse(form.dataset.texts);
const KNOWN = ['m.login.registration_token', 'm.login.dummy'];

token.value = decodeURIComponent(location.hash.slice(1));
if (token.value !== '') history.replaceState(null, '', location.pathname);
(token.value === '' ? token : name).focus();

const showAddress = () => (document.getElementById('address').textContent = name.value || '…');
name.addEventListener('input', () => {
  name.value = name.value.toLowerCase().trim();
  showAddress();
});
showAddress();
show.addEventListener('change', () => (password.type = show.checked ? 'text' : 'password'));

function complain(text, field) {
  problem.textContent = text;
  problem.hidden = text === '';
  for (const one of [token, name, password]) one.setAttribute('aria-invalid', String(one === field));
  if (text !== '') (field ?? problem).focus();
}

async function post(body) {
  const response = await fetch(`${form.dataset.server}/_matrix/client/v3/register`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, answer: await response.json() };
}

/** What to say about a refusal, and at which field. */
function refusal({ errcode, error }) {
  const found = {
    M_USER_IN_USE: [texts.taken, name],
    M_EXCLUSIVE: [texts.taken, name],
    M_INVALID_USERNAME: [texts.badName, name],
    M_UNAUTHORIZED: [texts.badToken, token],
    M_LIMIT_EXCEEDED: [texts.wait, undefined],
  }[errcode];
  if (found) return found;
  if (/PASSWORD/.test(errcode ?? '')) return [texts.badPassword, password];
  return [`${texts.failed} ${error ?? ''}`, undefined];
}

async function register() {
  const account = { username: name.value, password: password.value, inhibit_login: true };
  let { status, answer } = await post(account);
  while (status === 401 && answer.session) {
    const done = answer.completed ?? [];
    const flow = answer.flows.map(({ stages }) => stages).find((stages) => stages.every((one) => KNOWN.includes(one)));
    const stage = flow?.find((one) => !done.includes(one));
    if (stage === undefined || answer.errcode) return refusal(answer);
    const auth = { type: stage, session: answer.session };
    if (stage === 'm.login.registration_token') auth.token = token.value.trim();
    ({ status, answer } = await post({ ...account, auth }));
  }
  return status === 200 ? answer.user_id : refusal(answer);
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const [field, text] =
    token.value.trim() === ''
      ? [token, texts.noToken]
      : !name.checkValidity()
        ? [name, texts.badName]
        : password.value.length < password.minLength
          ? [password, texts.badPassword]
          : [];
  complain(text ?? '', field);
  if (field) return;
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const outcome = await register();
    if (Array.isArray(outcome)) return complain(...outcome);
    document.getElementById('new-address').textContent = outcome;
    form.hidden = true;
    const done = document.getElementById('done');
    done.hidden = false;
    done.focus();
  } catch {
    complain(texts.unreachable);
  } finally {
    button.disabled = false;
  }
});

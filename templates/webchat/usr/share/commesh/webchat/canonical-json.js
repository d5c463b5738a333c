// Canonical JSON (Matrix specification, appendices, "Canonical JSON"): the text that is signed.
function text(value) {
  if (Array.isArray(value)) return `[${value.map(text).join(',')}]`;
  if (value !== null && typeof value === 'object')
    return `{${Object.keys(value)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${text(value[key])}`)
      .join(',')}}`;
  return JSON.stringify(value);
}

export default { stringify: text };

// Base64 for keys and signatures; Matrix leaves the padding out when it writes.
export default {
  encode(buffer) {
    let text = '';
    for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
    return btoa(text);
  },
  decode(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  },
};

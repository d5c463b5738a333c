// Stands for modules the client imports and this page has no need of: themes made in the browser, and olm, which is a plain script.
export default {};

/**
 * Unpacks xz data without a program (xz-decompress: XZ Embedded as WebAssembly); about half as fast as xz itself, so for
 * what is needed before there is a tools tree, and for mirrors without gz.
 * @throws Error when the data is damaged.
 */
export async function unxz(bytes: Uint8Array): Promise<Buffer> {
  const { default: xz } = await import('xz-decompress');
  const stream = new xz.XzReadableStream(new Blob([bytes]).stream());
  const parts: Uint8Array[] = [];
  const reader = stream.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) parts.push(step.value);
  return Buffer.concat(parts);
}

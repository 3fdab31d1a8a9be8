/** Reads a whole body; undefined if it is longer than `maxBytes`, and the rest is not read. */
export async function readLimited(
  body: AsyncIterable<Buffer>,
  maxBytes: number
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > maxBytes) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

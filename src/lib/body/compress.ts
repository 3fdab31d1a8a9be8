import { promisify } from 'node:util'
import {
  type BrotliCompress,
  brotliCompress,
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  type Gzip,
  gzip,
  gzipSync,
  type ZstdCompress,
  zstdCompress,
  zstdCompressSync
} from 'node:zlib'
import type { ContentCoding } from '../http/accept-encoding.ts'

// Windows bound the memory of a stream. Browsers take up to 8 MB for zstd (RFC 9659).
const BROTLI_WINDOW = 18
const ZSTD_WINDOW = 19

/** Compresses a whole body at once, on the thread of the caller. */
export function compressSync(coding: ContentCoding, level: number, bytes: Uint8Array): Buffer {
  const size = bytes.length
  if (coding === 'gzip') return gzipSync(bytes, { level })
  if (coding === 'br') return brotliCompressSync(bytes, { params: brotliParams(level, size) })
  // The size as an option needs a smaller window, and with it less memory.
  return zstdCompressSync(bytes, { params: zstdParams(level), pledgedSrcSize: size })
}

/** Compresses a whole body in the thread pool of libuv. */
export function compressLater(coding: ContentCoding, level: number, bytes: Uint8Array): Promise<Buffer> {
  const size = bytes.length
  if (coding === 'gzip') return promisify(gzip)(bytes, { level })
  if (coding === 'br') return promisify(brotliCompress)(bytes, { params: brotliParams(level, size) })
  return promisify(zstdCompress)(bytes, { params: zstdParams(level), pledgedSrcSize: size })
}

/** A stream that compresses in the thread pool of libuv. */
export interface CompressStream {
  readonly stream: Gzip | BrotliCompress | ZstdCompress
  /** The kind of `stream.flush` that sends all that was written, and keeps the window. */
  readonly flushKind: number
}

/** Creates a stream that compresses a body; its memory is at most `compressMemory`. */
export function createCompressStream(coding: ContentCoding, level: number): CompressStream {
  if (coding === 'gzip') return { stream: createGzip({ level }), flushKind: constants.Z_SYNC_FLUSH }
  if (coding === 'br')
    return {
      stream: createBrotliCompress({ params: brotliParams(level, 0) }),
      flushKind: constants.BROTLI_OPERATION_FLUSH
    }
  return {
    stream: createZstdCompress({
      params: { ...zstdParams(level), [constants.ZSTD_c_windowLog]: ZSTD_WINDOW }
    }),
    flushKind: constants.ZSTD_e_flush
  }
}

/** Returns the memory of a stream in bytes, as measured with Node.js 24.21: higher levels have larger tables. */
export function compressMemory(coding: ContentCoding, level: number): number {
  if (coding === 'gzip') return 300 * 1024
  if (coding === 'br') return level > 4 ? 4 * MB : 1.25 * MB
  return level > 3 ? 11 * MB : 1.5 * MB
}

const MB = 1024 ** 2

const brotliParams = (level: number, size: number): Record<number, number> => ({
  [constants.BROTLI_PARAM_QUALITY]: level,
  [constants.BROTLI_PARAM_LGWIN]: BROTLI_WINDOW,
  [constants.BROTLI_PARAM_SIZE_HINT]: size
})

const zstdParams = (level: number): Record<number, number> => ({
  [constants.ZSTD_c_compressionLevel]: level
})

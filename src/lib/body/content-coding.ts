import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, type ZlibOptions, zstdDecompress } from 'node:zlib'

/** Why a body can't be decoded. */
export interface CodingFault {
  readonly fault: 'unknown' | 'malformed' | 'tooLarge'
}

type Decode = (body: Buffer, options: ZlibOptions) => Promise<Buffer>

// A client that sends 1 kB never makes the gateway hold more than 100 kB.
const MAX_EXPANSION = 100

const DECODERS: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ['gzip', promisify<Buffer, ZlibOptions, Buffer>(gunzip)],
  ['x-gzip', promisify<Buffer, ZlibOptions, Buffer>(gunzip)],
  ['deflate', promisify<Buffer, ZlibOptions, Buffer>(inflate)],
  ['br', promisify(brotliDecompress) as Decode],
  ['zstd', promisify(zstdDecompress) as Decode]
])

/** Decodes a body by its Content-Encoding (RFC 9110 section 8.4), to at most `max` bytes and 100 times what was sent. */
export async function decodeBody(
  body: Buffer,
  contentEncoding: string | undefined,
  max: number
): Promise<Buffer | CodingFault> {
  const coding = contentEncoding?.trim().toLowerCase() ?? ''
  if (coding === '' || coding === 'identity') return body
  const decode = DECODERS.get(coding)
  if (decode === undefined) return { fault: 'unknown' }
  const maxOutputLength = Math.max(1, Math.min(max, body.length * MAX_EXPANSION))
  try {
    return await decode(body, { maxOutputLength })
  } catch (error) {
    return { fault: (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE' ? 'tooLarge' : 'malformed' }
  }
}

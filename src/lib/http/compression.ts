import type { FastifyRequest } from 'fastify'
import { compressLater, compressSync } from '../body/compress.ts'
import { getOrCreate, setBounded } from '../memoize.ts'
import { size } from '../units.ts'
import { type AcceptedCoding, acceptedCoding, type ContentCoding, IDENTITY } from './accept-encoding.ts'
import { isGrpc } from './grpc.ts'
import { joinVary } from './headers.ts'
import type { StageHead } from './stage-head.ts'

/** The options of `compress` on a route. */
export interface CompressionOptions {
  readonly encodings: readonly ContentCoding[]
  readonly levels: Readonly<Record<ContentCoding, number>>
  readonly minSize: string
  readonly types: readonly string[]
  readonly streams: boolean
}

/** Decides which responses of a route are compressed, and how. */
export class Compression {
  readonly #options: CompressionOptions
  readonly #minSize: number
  readonly #isListed: (type: string) => boolean
  readonly #accepted = new Map<string, AcceptedCoding>()

  constructor(options: CompressionOptions) {
    this.#options = options
    this.#minSize = size(options.minSize)
    this.#isListed = typeMatcher(options.types)
  }

  /** Returns the content coding of a response that has none yet; undefined to leave it as it is. */
  encodingFor(request: FastifyRequest, head: StageHead): ContentCoding | undefined {
    const { coding, identity } = this.accepted(request)
    if (coding === undefined || !this.mayCompress(head)) return undefined
    const length = lengthIn(head)
    return length === undefined || !identity || this.isWorthwhile(length) ? coding : undefined
  }

  /** Compresses a whole body. */
  compressSync(coding: ContentCoding, bytes: Uint8Array): Buffer {
    return compressSync(coding, this.levelOf(coding), bytes)
  }

  /** Compresses a whole body in the thread pool. */
  compressLater(coding: ContentCoding, bytes: Uint8Array): Promise<Buffer> {
    return compressLater(coding, this.levelOf(coding), bytes)
  }

  /** Returns the level of a content coding. */
  levelOf(coding: ContentCoding): number {
    return this.#options.levels[coding]
  }

  /** Returns what the client of a request accepts: nothing over HTTP/1.0, in a gRPC call, or with `no-transform`. */
  accepted(request: FastifyRequest): AcceptedCoding {
    const { httpVersionMajor, httpVersionMinor, headers } = request.raw
    const header = headers['accept-encoding']
    if (typeof header !== 'string' || (httpVersionMajor === 1 && httpVersionMinor === 0)) return IDENTITY
    if (isGrpc(request) || forbidsTransform(headers['cache-control'])) return IDENTITY
    const known = this.#accepted.get(header)
    if (known !== undefined) return known
    const accepted = acceptedCoding(header, this.#options.encodings)
    setBounded(this.#accepted, header, accepted)
    return accepted
  }

  /** Returns whether a response is of a type that is compressed. */
  isCompressible(head: StageHead): boolean {
    const type = mediaTypeIn(head)
    if (type === 'text/event-stream') return this.#options.streams
    return this.#isListed(type) && !type.startsWith('application/grpc')
  }

  /** Returns whether the body of a response may be compressed, whatever its length. */
  mayCompress(head: StageHead): boolean {
    return (
      !WITHOUT_COMPRESSION.has(head.status) &&
      (head.get('content-encoding') ?? 'identity').trim().toLowerCase() === 'identity' &&
      !forbidsTransform(head.get('cache-control')) &&
      // The digest in a trailer is that of the body as it came.
      !/digest|md5/i.test(head.get('trailer') ?? '') &&
      this.isCompressible(head)
    )
  }

  /** Returns whether a body is long enough. */
  isWorthwhile(bytes: number): boolean {
    return bytes >= this.#minSize
  }
}

// Shared by concerns that keep compressed bodies.
const compressions = new WeakMap<CompressionOptions, Compression>()

/** Returns the compression with some options, the same for the same object. */
export const compressionFor = (options: CompressionOptions): Compression =>
  getOrCreate(compressions, options, () => new Compression(options))

// 206 is a part of the body without a coding; the others have no body.
const WITHOUT_COMPRESSION = new Set([204, 205, 206, 304])

/** Returns the Content-Length of a response; undefined where it has none that is a number. */
export function lengthIn(head: StageHead): number | undefined {
  const length = Number(head.get('content-length'))
  return Number.isSafeInteger(length) ? length : undefined
}

/** Returns the media type of a response in lower case, without its parameters. */
export function mediaTypeIn(head: StageHead): string {
  const value = head.get('content-type') ?? ''
  const end = value.indexOf(';')
  return (end === -1 ? value : value.slice(0, end)).trim().toLowerCase()
}

/** Changes the head of a response to that of a compressed one. */
export function applyCoding(head: StageHead, coding: ContentCoding): void {
  head.set('content-encoding', coding)
  for (const name of OF_THE_OTHER_BYTES) head.set(name, undefined)
  weakenEtag(head)
}

// What is true only of the body without a coding (RFC 9530 sections 2 and 3, RFC 9110 section 14.3).
const OF_THE_OTHER_BYTES = [
  'content-length',
  'accept-ranges',
  'content-digest',
  'repr-digest',
  'digest',
  'content-md5'
]

/** Makes a strong ETag weak: two bodies, each with a coding of its own, share it (RFC 9110 section 8.8.1). */
export function weakenEtag(head: StageHead): void {
  const etag = head.get('etag')
  if (etag?.startsWith('"') === true) head.set('etag', `W/${etag}`)
}

/** Tells caches that the response depends on Accept-Encoding. */
export function varyByEncoding(head: StageHead): void {
  const vary = head.get('vary') ?? ''
  if (vary.trim() !== '*') head.set('vary', joinVary(vary, 'Accept-Encoding'))
}

const forbidsTransform = (cacheControl: string | undefined): boolean =>
  cacheControl !== undefined && /(?:^|[\s,])no-transform(?:$|[\s,;=])/i.test(cacheControl)

/** Compiles a list of types such as "application/json", "text/*" and "*+json". */
function typeMatcher(types: readonly string[]): (type: string) => boolean {
  const exact = new Set(types)
  const isListed = (type: string): boolean =>
    exact.has(type) ||
    exact.has(`${type.slice(0, type.indexOf('/'))}/*`) ||
    (type.includes('+') && exact.has(`*${type.slice(type.lastIndexOf('+'))}`))
  const known = new Map<string, boolean>()
  return (type) => {
    const before = known.get(type)
    if (before !== undefined) return before
    const listed = isListed(type)
    setBounded(known, type, listed)
    return listed
  }
}

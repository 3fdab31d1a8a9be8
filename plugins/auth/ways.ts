import { hash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Caller, queryOf } from '../../src/kit/index.ts'
import type { ApiKey } from './files.ts'

/** What a way makes of a request: the caller, null where the request has no such credential, or "wrong". */
export type Found = Caller | null | 'wrong'

/** One way to let a caller in. */
export interface Way {
  readonly name: string
  /** The scheme that a 401 names for it; undefined where there is none. */
  readonly scheme?: string
  /** The headers that hold its credential, which is for the gateway alone unless `passOn` says otherwise. */
  readonly headers: readonly string[]
  /** The parameters of the query that hold it, which no upstream ever sees. */
  readonly parameters?: readonly string[]
  /** Whether it is asked only where no other way has found anybody. */
  readonly last?: boolean
  find(request: FastifyRequest, reply: FastifyReply): Promise<Found> | Found
}

/** Lets in whoever has one of the keys, which are known by their hashes alone. */
export function apiKeysWay(from: readonly string[], keys: readonly ApiKey[]): Way {
  const readers = from.map(readerOf)
  const parameters = parametersIn(from)
  const known = new Map<string, { digest: Buffer; caller: Caller; ends: number }>()
  for (const { id, key, secret, roles = [], scopes = [], expires } of keys) {
    const digest = key === undefined ? sha256(secret ?? '') : Buffer.from(key.slice(7), 'hex')
    known.set(digest.toString('hex'), {
      digest,
      caller: { id, roles, scopes, claims: {}, by: 'apiKeys' },
      ends: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires)
    })
  }
  return {
    name: 'apiKeys',
    scheme: 'ApiKey',
    headers: headersIn(from),
    parameters,
    find(request) {
      const keys = readers.flatMap((read) => read(request))
      for (const name of parameters) dropParameter(request, name)
      let caller: Caller | null = null
      // Every key has to be right, wherever it stands; the first one tells who calls.
      for (const key of keys) {
        const digest = sha256(key)
        const entry = known.get(digest.toString('hex'))
        if (entry === undefined || !timingSafeEqual(entry.digest, digest) || entry.ends <= Date.now())
          return 'wrong'
        caller ??= entry.caller
      }
      return caller
    }
  }
}

const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer')

const nameIn = (place: string): string => place.slice(place.indexOf(':') + 1)

/** Names the headers among some places, in lower case. */
export const headersIn = (from: readonly string[]): string[] =>
  from.filter((place) => place.startsWith('header:')).map((place) => nameIn(place).toLowerCase())

/** Names the parameters of the query among some places. */
export const parametersIn = (from: readonly string[]): string[] =>
  from.filter((place) => place.startsWith('query:')).map(nameIn)

/** Compiles a place such as "header:x-api-key" or "query:key" into what reads all that stands there. */
export function readerOf(place: string): (request: FastifyRequest) => string[] {
  const name = nameIn(place)
  if (place.startsWith('query:'))
    return (request) => new URLSearchParams(queryOf(request.raw.url ?? '')).getAll(name)
  const header = name.toLowerCase()
  return (request) => {
    const value = request.headers[header]
    return value === undefined ? [] : [[value].flat().join()]
  }
}

/** Takes a parameter out of the query of a request, so that nobody further in sees it; the others stay byte for byte. */
export function dropParameter({ raw }: FastifyRequest, name: string): void {
  const url = raw.url ?? ''
  const query = queryOf(url)
  if (query === '') return
  const pairs = query.slice(1).split('&')
  const kept = pairs.filter((pair) => !new URLSearchParams(pair).has(name))
  if (kept.length === pairs.length) return
  raw.url = url.slice(0, url.length - query.length) + (kept.length === 0 ? '' : `?${kept.join('&')}`)
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type About, createError, type OptionFault, Type } from '../../../src/kit/index.ts'
import { askUpstream } from '../../../src/lib/ask-upstream.ts'
import type { Caller } from '../../../src/lib/caller.ts'
import { peerOf } from '../../../src/lib/http/addresses.ts'
import { setCookieName } from '../../../src/lib/http/cookies.ts'
import { HeaderName } from '../../../src/lib/http/header-options.ts'
import { FRAMING, HOP_BY_HOP, nominatedBy } from '../../../src/lib/http/hop-by-hop.ts'
import { questionHead } from '../../../src/lib/http/request-head.ts'
import { type Refusal, withHeaders } from '../../../src/lib/refusals.ts'
import { nearest, type Static } from '../../../src/lib/schema.ts'
import { Duration, duration } from '../../../src/lib/units.ts'
import type { Strategy } from './strategy.ts'

const header = (description: string) => Type.Optional(Type.Unsafe<string>({ ...HeaderName, description }))

export const forward = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'Who is asked: a name from "upstreams", or a URL for a one-off.'
    }),
    path: Type.String({ default: '/', pattern: '^/', description: 'The path that is asked for there.' }),
    timeout: Duration({ positive: true, default: '1s', description: 'How long the answer may take.' }),
    copy: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of its answer that the upstream gets; those of the same name from a client never reach it.'
    }),
    copyBack: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of an answer that lets in, such as "set-cookie", that are added to the answer for the client.'
    }),
    caller: Type.Object(
      {
        id: header('The header of its answer that names the caller.'),
        name: header("The header with the caller's name."),
        email: header("The header with the caller's mail address."),
        roles: header('The header with the roles, separated by commas.'),
        scopes: header('The header with the scopes, separated by spaces or commas.')
      },
      { additionalProperties: false, default: {}, description: 'How its answer tells who calls.' }
    )
  },
  {
    additionalProperties: false,
    description:
      'Asks a service whether a request may pass: a 2xx lets it in, any other answer goes to the client.'
  }
)

export type ForwardOptions = Static<typeof forward>

/** The service that decides did not answer. */
const Undecided = createError(
  'SP_ERR_AUTH_UNAVAILABLE',
  'The service that knows who you are does not answer',
  503
)
/** The service that decides said no; the client gets its answer. */
const Declined = createError(
  'SP_ERR_AUTH_FORWARD',
  'The service that decides did not let this request in',
  403
)

/** Tells what is wrong that the schema can't say. */
export function forwardFaults(
  { upstream, copy, copyBack, caller }: ForwardOptions,
  { upstreams }: About
): OptionFault[] {
  const found: OptionFault[] = []
  if (!upstreams.includes(upstream) && !/^(https?:\/\/|unix:\/)/.test(upstream)) {
    const near = nearest(upstream, upstreams)
    found.push({
      path: ['upstream'],
      message: `No upstream "${upstream}"; ${near === undefined ? 'a name from "upstreams" or a URL would do' : `did you mean "${near}"?`}`
    })
  }
  const toUpstream = [
    ...copy.map((name, i) => ({ name, path: ['copy', i] })),
    ...Object.entries(caller).map(([key, name]) => ({ name, path: ['caller', key] }))
  ]
  for (const { name, path } of toUpstream) {
    if (name.toLowerCase() === 'set-cookie')
      found.push({
        path,
        message: `"${name}" is for clients, and no upstream reads it; "copyBack": ["set-cookie"] hands it to them`
      })
    else if (isOfMessage(name)) found.push({ path, message: ofMessage(name) })
  }
  for (const [i, name] of copyBack.entries()) {
    if (isOfMessage(name)) found.push({ path: ['copyBack', i], message: ofMessage(name) })
    else if (name.toLowerCase().startsWith('access-control-'))
      found.push({
        path: ['copyBack', i],
        message: `"${name}" is for "cors" to write; who may read an answer is not asked there`
      })
  }
  return found
}

// What is of one message alone: its framing, its connection and its content.
function isOfMessage(name: string): boolean {
  const lower = name.toLowerCase()
  return HOP_BY_HOP.has(lower) || FRAMING.has(lower) || lower.startsWith('content-')
}

const ofMessage = (name: string): string =>
  `"${name}" is about the message that it stands in, and can't be copied to another`

// The largest answer that goes on to a client, in bytes.
const LARGEST = 65_536

/** Lets in whom another service lets in; its names for a request are those of Traefik's forwardAuth. */
export function forwardStrategy(app: FastifyInstance, said: ForwardOptions): Strategy {
  const upstream = app.upstream(said.upstream)
  const timeout = duration(said.timeout)
  const policy = upstream.policyFor({ headersTimeout: timeout, bodyTimeout: timeout })
  const copied = said.copy.map((name) => name.toLowerCase())
  const copiedBack = said.copyBack.map((name) => name.toLowerCase())
  const headFor = questionHead({ names: app.identityNames, cookie: app.sessionCookie })
  return {
    name: 'forward',
    headers: [],
    last: true,
    async find(request, reply) {
      const { statusCode, headers, body } = await ask(request)
      if (statusCode < 200 || statusCode >= 300) {
        const refusal: Refusal = new Declined()
        refusal.statusCode = statusCode
        refusal.instead = { headers: headersForClient(headers), body }
        throw refusal
      }
      const identity = copied.flatMap((name) => {
        const value = textIn(headers, name)
        return value === undefined ? [] : [{ name, value: { render: () => value } }]
      })
      if (identity.length > 0) request.identity = [...(request.identity ?? []), ...identity]
      if (copiedBack.length > 0) copyBack(headersForClient(headers), reply)
      return callerIn(headers, said.caller)
    }
  }

  /** Adds what the service wants the client to have; what the gateway has set already stays. */
  function copyBack(headers: Readonly<Record<string, string | string[]>>, reply: FastifyReply): void {
    for (const name of copiedBack) {
      const value = Object.hasOwn(headers, name) ? headers[name] : undefined
      if (value !== undefined && (name === 'set-cookie' || !reply.hasHeader(name))) reply.header(name, value)
    }
  }

  /** Leaves out of an answer what holds for one connection or frames it, and the session cookie, which is the gateway's to set. */
  function headersForClient(headers: ServiceHeaders): Record<string, string | string[]> {
    const nominated = nominatedBy(textIn(headers, 'connection')) ?? []
    const kept: [string, string | string[]][] = []
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined || HOP_BY_HOP.has(name) || FRAMING.has(name) || nominated.includes(name))
        continue
      if (name !== 'set-cookie') kept.push([name, value])
      else kept.push([name, [value].flat().filter((each) => setCookieName(each) !== app.sessionCookie)])
    }
    return Object.fromEntries(kept)
  }

  async function ask(request: FastifyRequest): Promise<ServiceAnswer> {
    try {
      const { status, fields, body } = await askUpstream(
        upstream,
        {
          source: request,
          method: 'GET',
          path: said.path,
          idempotent: true,
          body: null,
          deadline: request.deadline,
          headersFor: ({ host }) => headFor(request, app.trusts(peerOf(request)), host)
        },
        policy,
        { maxBody: LARGEST, timeout }
      )
      // A status that can't be passed on is no answer (RFC 9110 section 15).
      if (status > 599) throw new RangeError('The answer of the service that decides has no status')
      return { statusCode: status, headers: headersIn(fields), body }
    } catch (error) {
      app.log.warn(
        { upstream: upstream.name, cause: (error as { code?: string }).code ?? (error as Error).name },
        'the service that decides who may pass did not answer'
      )
      throw undecided()
    }
  }
}

/** What the service answered. */
interface ServiceAnswer {
  readonly statusCode: number
  readonly headers: ServiceHeaders
  readonly body: Buffer
}

type ServiceHeaders = Readonly<Record<string, string | string[]>>

/** Makes an object of a flat header, with a list for each name that is repeated. */
function headersIn(fields: readonly string[]): ServiceHeaders {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const value = fields[i + 1] as string
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
  return headers
}

const undecided = (): Refusal => withHeaders(new Undecided(), { 'retry-after': '1' })

function textIn(headers: Readonly<Record<string, unknown>>, name: string | undefined): string | undefined {
  const lower = name?.toLowerCase()
  const value = lower === undefined || !Object.hasOwn(headers, lower) ? undefined : headers[lower]
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'string' && value !== '' ? value : undefined
}

function callerIn(headers: Readonly<Record<string, unknown>>, said: ForwardOptions['caller']): Caller {
  const list = (name: string | undefined, by: RegExp): string[] =>
    (textIn(headers, name) ?? '')
      .split(by)
      .map((each) => each.trim())
      .filter(Boolean)
  const name = textIn(headers, said.name)
  const email = textIn(headers, said.email)
  return {
    // A service that names nobody lets all in alike.
    id: textIn(headers, said.id) ?? 'forward',
    ...(name === undefined ? {} : { name }),
    ...(email === undefined ? {} : { email }),
    roles: list(said.roles, /,/),
    scopes: list(said.scopes, /[\s,]/),
    claims: {},
    by: 'forward'
  }
}

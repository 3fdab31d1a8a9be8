import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'
import {
  type About,
  type Caller,
  createError,
  Duration,
  duration,
  HeaderName,
  isClaim,
  nearest,
  type OptionFault,
  peerOf,
  plainName,
  type Refusal,
  type Static,
  Type,
  withHeaders,
  withoutCookie
} from '../../src/kit/index.ts'
import type { Way } from './ways.ts'
import { wholeOf } from './whole.ts'

export const forward = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'Who is asked: a name from "upstreams", or a URL for a one-off.'
    }),
    path: Type.String({ default: '/', pattern: '^/', description: 'The path that is asked for there.' }),
    timeout: Duration({ default: '1s', description: 'How long the answer may take.' }),
    copy: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of its answer that the upstream gets; those of the same name from a client never reach it.'
    }),
    caller: Type.Object(
      {
        id: Type.Optional(Type.String({ description: 'The header of its answer that names the caller.' })),
        name: Type.Optional(Type.String({ description: "The header with the caller's name." })),
        email: Type.Optional(Type.String({ description: "The header with the caller's mail address." })),
        roles: Type.Optional(Type.String({ description: 'The header with the roles, separated by commas.' })),
        scopes: Type.Optional(
          Type.String({ description: 'The header with the scopes, separated by spaces or commas.' })
        )
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
export function forwardFaults({ upstream }: ForwardOptions, { upstreams }: About): OptionFault[] {
  if (upstreams.includes(upstream) || /^(https?:\/\/|unix:\/)/.test(upstream)) return []
  const near = nearest(upstream, upstreams)
  return [
    {
      path: ['upstream'],
      message: `No upstream "${upstream}"; ${near === undefined ? 'a name from "upstreams" or a URL would do' : `did you mean "${near}"?`}`
    }
  ]
}

// What frames a message or belongs to one connection; the body stays here.
const NOT_ASKED = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade'
])
const NOT_TOLD = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'trailer',
  'upgrade'
])

// The largest answer that goes on to a client, in bytes.
const LARGEST = 65_536

/** Lets in whom another service lets in; its names for a request are those of Traefik's forwardAuth. */
export function forwardWay(app: FastifyInstance, said: ForwardOptions): Way {
  const upstream = app.upstream(said.upstream)
  const timeout = duration(said.timeout)
  const copied = said.copy.map((name) => name.toLowerCase())
  return {
    name: 'forward',
    headers: [],
    last: true,
    async find(request) {
      const { statusCode, headers, body } = await ask(request)
      if (statusCode < 200 || statusCode >= 300) {
        const refusal: Refusal = new Declined()
        refusal.statusCode = statusCode
        const told = Object.entries(headers).filter(([name]) => !NOT_TOLD.has(name))
        refusal.instead = { headers: Object.fromEntries(told) as Record<string, string>, body }
        throw refusal
      }
      const identity = copied.flatMap((name) => {
        const value = textIn(headers, name)
        return value === undefined ? [] : [{ name, value: { render: () => value } }]
      })
      if (identity.length > 0) request.identity = [...(request.identity ?? []), ...identity]
      return callerIn(headers, said.caller)
    }
  }

  async function ask(request: FastifyRequest): Promise<{
    statusCode: number
    headers: Dispatcher.ResponseData['headers']
    body: Buffer
  }> {
    const target = upstream.pick(request)
    if (target === undefined) throw undecided()
    const probe = target.take()
    let ok = false
    try {
      const signal = AbortSignal.timeout(timeout)
      const answer = await target.pool.request({
        path: target.base + said.path,
        method: 'GET',
        headers: headFor(request, target.host),
        headersTimeout: timeout,
        bodyTimeout: timeout,
        signal
      })
      // A status that nobody can pass on is no answer (RFC 9110 section 15).
      if (answer.statusCode > 599) {
        await answer.body.dump()
        throw new RangeError('The answer of the service that decides has no status')
      }
      const body = await wholeOf(answer.body as AsyncIterable<Buffer>, LARGEST)
      if (body === undefined) throw new RangeError('The answer of the service that decides is too large')
      ok = answer.statusCode < 500
      return { statusCode: answer.statusCode, headers: answer.headers, body }
    } catch (error) {
      app.log.warn(
        { upstream: upstream.name, cause: (error as { code?: string }).code ?? (error as Error).name },
        'the service that decides who may pass did not answer'
      )
      throw undecided()
    } finally {
      target.judge(ok, probe)
      target.leave()
    }
  }

  function headFor(request: FastifyRequest, host: string): string[] {
    const { rawHeaders, headers } = request.raw
    const trusted = app.trusts(peerOf(request))
    const head = ['host', host]
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = (rawHeaders[i] as string).toLowerCase()
      const plain = plainName(name)
      if (NOT_ASKED.has(name) || plain.startsWith('x-forwarded-') || app.identityNames.has(plain)) continue
      // Who decides may believe them: what was asked for is the gateway's to say, and no stranger's.
      if (isClaim(plain) && (!trusted || plain !== name)) continue
      let value = rawHeaders[i + 1] as string
      if (name === 'cookie' && app.sessionCookie !== null) {
        value = withoutCookie(value, app.sessionCookie)
        if (value === '') continue
      }
      head.push(name, value)
    }
    const before = trusted ? headers['x-forwarded-for'] : undefined
    head.push(
      'x-forwarded-method',
      request.method,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      headers.host ?? '',
      'x-forwarded-uri',
      request.raw.url ?? '/',
      'x-forwarded-for',
      before === undefined ? peerOf(request) : `${[before].flat().join(', ')}, ${peerOf(request)}`
    )
    return head
  }
}

const undecided = (): Refusal => withHeaders(new Undecided(), { 'retry-after': '1' })

function textIn(headers: Readonly<Record<string, unknown>>, name: string | undefined): string | undefined {
  const value = name === undefined ? undefined : headers[name.toLowerCase()]
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

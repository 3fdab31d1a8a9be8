import { createServer } from 'node:http'
import helmet from '@fastify/helmet'
import fastify from 'fastify'
import { fp, type Hooks, perOptions, type RouteInfo, Type } from '../src/kit/index.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration, duration, TextOrNone } from '../src/lib/units.ts'

export const key = 'securityHeaders'

const hsts = Type.Object(
  {
    maxAge: Duration({ default: '365d', description: 'How long browsers keep to https.' }),
    subdomains: Type.Boolean({ default: false, description: 'Whether that holds for all subdomains, too.' }),
    preload: Type.Boolean({
      default: false,
      description: "Whether the host asks to be in browsers' preload lists."
    })
  },
  { additionalProperties: false }
)

export const options = Type.Object(
  {
    preset: Type.Unsafe<'compatible' | 'strict'>({
      type: 'string',
      enum: ['compatible', 'strict'],
      default: 'compatible',
      description:
        'What is there without a word: compatible breaks no proxied page, strict is all that @fastify/helmet sets.'
    }),
    hsts: Type.Optional(
      Type.Unsafe<Static<typeof hsts> | boolean>({
        anyOf: [hsts, { type: 'boolean' }],
        description:
          'Strict-Transport-Security (RFC 6797), sent over TLS only; false for none, true as the preset has it.'
      })
    ),
    csp: Type.Optional(
      TextOrNone({ description: 'Content-Security-Policy; the preset strict has one, compatible none.' })
    ),
    frame: Type.Optional(
      Type.Unsafe<'sameorigin' | 'deny' | false>({
        enum: ['sameorigin', 'deny', false],
        description: 'X-Frame-Options: who may show a page in a frame; false for no such header.'
      })
    ),
    referrer: Type.Optional(
      TextOrNone({
        description: 'Referrer-Policy: how much of an address other sites are told; false for no such header.'
      })
    ),
    permissions: Type.Optional(
      TextOrNone({ description: 'Permissions-Policy: which features of the browser a page may use.' })
    ),
    remove: Type.Array(Type.String({ pattern: '^[a-z0-9-]+$' }), {
      default: ['server', 'x-powered-by'],
      description: 'Headers that never leave, in lower case.'
    })
  },
  {
    additionalProperties: false,
    description: 'Headers that tell browsers to be careful, and the removal of those that tell too much.'
  }
)

export const override = overrideOf(options)
export const always = true
export type SecurityHeadersOptions = Static<typeof options>

export default fp<SecurityHeadersOptions>(
  async function securityHeaders(app, root) {
    const strict = await helmetHeaders()
    // The gateway's own pages are strict whatever others are; HSTS holds for the whole host, and so stays as the root says it.
    const pages: CompiledHeaders = {
      ...compileHeaders({ preset: 'strict', remove: root.remove }, strict),
      hsts: compileHeaders(root, strict).hsts
    }
    const isOwn = (route: RouteInfo): boolean => route.scope(key) !== 'root'
    const build = (said: SecurityHeadersOptions, route: RouteInfo): Hooks => {
      const own = isOwn(route)
      const here = route.kind === 'standing' ? pages : compileHeaders(said, strict)
      const entries = Object.entries(here.constant)
      return {
        // What a route says itself wins over what its upstream sends; what it only inherits does not.
        ...(own ? {} : { headers: here.constant }),
        strips: own ? [...here.remove, ...Object.keys(here.constant)] : here.remove,
        onHead(request, _reply, head) {
          const tls = request.protocol === 'https'
          const csp = tls ? here.csp : here.plainCsp
          if (request.forwarding === null) for (const name of here.remove) head.remove(name)
          if (own) for (const [name, value] of entries) head.set(name, value)
          if (csp !== undefined && (own || !head.has(CSP))) head.set(CSP, csp)
          if (tls && here.hsts !== undefined && (own || !head.has(HSTS))) head.set(HSTS, here.hsts)
        }
      }
    }
    perOptions(app, key, root, build, (_said, route) => (route.kind === 'standing' ? 'page' : isOwn(route)))
  },
  { name: key, fastify: '5.x' }
)

const CSP = 'content-security-policy'
const HSTS = 'strict-transport-security'

interface CompiledHeaders {
  readonly constant: Readonly<Record<string, string>>
  readonly csp: string | undefined
  /** The strict preset's policy without "upgrade-insecure-requests", which would send the forms of a plain gateway to a port that is not there. */
  readonly plainCsp: string | undefined
  readonly hsts: string | undefined
  readonly remove: readonly string[]
}

/** Works out the headers of one set of options, once. */
function compileHeaders(
  said: SecurityHeadersOptions,
  strict: Readonly<Record<string, string>>
): CompiledHeaders {
  const { 'strict-transport-security': strictHsts, 'content-security-policy': strictCsp, ...more } = strict
  const isStrict = said.preset === 'strict'
  const constant: Record<string, string> = isStrict
    ? more
    : {
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'SAMEORIGIN',
        'referrer-policy': 'strict-origin-when-cross-origin'
      }
  setOrRemove(
    constant,
    'x-frame-options',
    typeof said.frame === 'string' ? said.frame.toUpperCase() : said.frame
  )
  setOrRemove(constant, 'referrer-policy', said.referrer)
  setOrRemove(constant, 'permissions-policy', said.permissions)
  const csp = isStrict ? strictCsp : undefined
  return {
    constant,
    csp: optionOr(said.csp, csp),
    plainCsp: optionOr(said.csp, csp?.replace(/;\s*upgrade-insecure-requests/, '')),
    hsts: optionOr(
      said.hsts === true ? undefined : typeof said.hsts === 'object' ? hstsOf(said.hsts) : said.hsts,
      isStrict ? strictHsts : hstsOf({ maxAge: '365d', subdomains: false, preload: false })
    ),
    remove: said.remove
  }
}

/** What is said, nothing where that is `false`, and what is there by itself where nothing is said. */
const optionOr = (said: string | false | undefined, byItself: string | undefined): string | undefined =>
  said === undefined ? byItself : said === false ? undefined : said

function setOrRemove(headers: Record<string, string>, name: string, value: string | false | undefined): void {
  if (value === false) delete headers[name]
  else if (value !== undefined) headers[name] = value
}

function hstsOf(said: Static<typeof hsts>): string {
  return `max-age=${Math.floor(duration(said.maxAge) / 1000)}${said.subdomains ? '; includeSubDomains' : ''}${said.preload ? '; preload' : ''}`
}

// helmet computes the same headers anew for each request; it is asked once, at boot, what they are.
let helmetHeadersPromise: Promise<Readonly<Record<string, string>>> | undefined

/** Asks @fastify/helmet for its whole set of headers. */
async function helmetHeaders(): Promise<Readonly<Record<string, string>>> {
  helmetHeadersPromise ??= (async () => {
    const app = fastify({ serverFactory: (handler) => createServer(handler) })
    await app.register(helmet)
    app.get('/', async () => '')
    const { headers } = await app.inject('/')
    await app.close()
    const {
      'content-type': _type,
      'content-length': _length,
      date: _date,
      connection: _connection,
      ...set
    } = headers
    return Object.fromEntries(Object.entries(set).map(([name, value]) => [name, String(value)]))
  })()
  return helmetHeadersPromise
}

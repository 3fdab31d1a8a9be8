import { createServer } from 'node:http'
import helmet from '@fastify/helmet'
import fastify from 'fastify'
import type { Comparison } from '../src/kit/concern.ts'
import { fp, type Hooks, perOptions, type RouteInfo, Type } from '../src/kit/index.ts'
import { isCardPolicy } from '../src/lib/http/card-page.ts'
import { overrideOf, type Static } from '../src/lib/schema.ts'
import { Duration, duration, TextOrNone } from '../src/lib/units.ts'

export const key = 'securityHeaders'

const hsts = Type.Object(
  {
    maxAge: Duration({ default: '365d', description: 'How long browsers use https only.' }),
    subdomains: Type.Boolean({ default: false, description: 'Whether it includes subdomains.' }),
    preload: Type.Boolean({
      default: false,
      description: 'Whether browsers may include the host in their preload lists.'
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
        'The default headers: compatible breaks no proxied page, strict is the full set of @fastify/helmet.'
    }),
    hsts: Type.Optional(
      Type.Unsafe<Static<typeof hsts> | boolean>({
        anyOf: [hsts, { type: 'boolean' }],
        description:
          'Strict-Transport-Security (RFC 6797), sent over TLS only; false for none, true for the value of the preset.',
        examples: [{ maxAge: '365d', subdomains: true }]
      })
    ),
    csp: Type.Optional(
      TextOrNone({ description: 'Content-Security-Policy; strict sets one by default, compatible none.' })
    ),
    frame: Type.Optional(
      Type.Unsafe<'sameorigin' | 'deny' | false>({
        enum: ['sameorigin', 'deny', false],
        description: 'X-Frame-Options: which builtinPages may embed the response; false for no such header.'
      })
    ),
    referrer: Type.Optional(
      TextOrNone({
        description: 'Referrer-Policy: how much of the URL is sent to other sites; false for no such header.'
      })
    ),
    permissions: Type.Optional(
      TextOrNone({ description: 'Permissions-Policy: the browser features that a page may use.' })
    ),
    remove: Type.Array(Type.String({ pattern: '^[a-z0-9-]+$' }), {
      default: ['server', 'x-powered-by'],
      description: 'Response headers to remove, in lower case.'
    })
  },
  {
    additionalProperties: false,
    description: 'Adds security headers to responses, and removes headers that identify the software.',
    examples: [{ preset: 'strict' }]
  }
)

export const override = overrideOf(options)
export const stateless = true
export const always = true
export type SecurityHeadersOptions = Static<typeof options>

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes: (
    before: SecurityHeadersOptions | undefined,
    after: SecurityHeadersOptions | undefined,
    { changed }
  ) =>
    before === undefined || after === undefined
      ? [{ class: 'exposure', path: [], message: after === undefined ? 'are off' : 'are on' }]
      : changed.map((name) => ({ class: 'exposure', path: [name], message: 'tells browsers something else' }))
}

export default fp<SecurityHeadersOptions>(
  async function securityHeaders(app, root) {
    const strict = await helmetHeaders()
    // The gateway's own pages always use the strict preset; HSTS applies to the whole host, so it follows the root.
    const builtinPages: CompiledHeaders = {
      ...compileHeaders({ preset: 'strict', remove: root.remove }, strict),
      hsts: compileHeaders(root, strict).hsts
    }
    const isFromRoute = (route: RouteInfo): boolean => route.scope(key) !== 'root'
    const build = (options: SecurityHeadersOptions, route: RouteInfo): Hooks => {
      const fromRoute = isFromRoute(route)
      const compiled = route.kind === 'builtin' ? builtinPages : compileHeaders(options, strict)
      const entries = Object.entries(compiled.constant)
      return {
        // Options of the route override the upstream's headers; inherited ones don't.
        ...(fromRoute ? {} : { headers: compiled.constant }),
        strips: fromRoute ? [...compiled.remove, ...Object.keys(compiled.constant)] : compiled.remove,
        onHead(request, reply, head) {
          const tls = request.protocol === 'https'
          const csp = tls ? compiled.csp : compiled.plainCsp
          if (request.forwarding === null) for (const name of compiled.remove) head.remove(name)
          if (fromRoute) for (const [name, value] of entries) head.set(name, value)
          if (csp !== undefined && (fromRoute ? !isCardPolicy(reply.getHeader(CSP)) : !head.has(CSP)))
            head.set(CSP, csp)
          if (tls && compiled.hsts !== undefined && (fromRoute || !head.has(HSTS)))
            head.set(HSTS, compiled.hsts)
        }
      }
    }
    perOptions(app, key, root, build, (_options, route) =>
      route.kind === 'builtin' ? 'page' : isFromRoute(route)
    )
  },
  { name: key, fastify: '5.x' }
)

const CSP = 'content-security-policy'
const HSTS = 'strict-transport-security'

interface CompiledHeaders {
  readonly constant: Readonly<Record<string, string>>
  readonly csp: string | undefined
  /** The CSP over plain HTTP: "upgrade-insecure-requests" would send forms to an https port that does not exist. */
  readonly plainCsp: string | undefined
  readonly hsts: string | undefined
  readonly remove: readonly string[]
}

/** Compiles the headers of one set of options. */
function compileHeaders(
  options: SecurityHeadersOptions,
  strict: Readonly<Record<string, string>>
): CompiledHeaders {
  const { 'strict-transport-security': strictHsts, 'content-security-policy': strictCsp, ...more } = strict
  const isStrict = options.preset === 'strict'
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
    typeof options.frame === 'string' ? options.frame.toUpperCase() : options.frame
  )
  setOrRemove(constant, 'referrer-policy', options.referrer)
  setOrRemove(constant, 'permissions-policy', options.permissions)
  const csp = isStrict ? strictCsp : undefined
  return {
    constant,
    csp: optionOr(options.csp, csp),
    plainCsp: optionOr(options.csp, csp?.replace(/;\s*upgrade-insecure-requests/, '')),
    hsts: optionOr(
      options.hsts === true
        ? undefined
        : typeof options.hsts === 'object'
          ? hstsOf(options.hsts)
          : options.hsts,
      isStrict ? strictHsts : hstsOf({ maxAge: '365d', subdomains: false, preload: false })
    ),
    remove: options.remove
  }
}

/** Returns the option; undefined for `false`, and the default if it is not set. */
const optionOr = (value: string | false | undefined, defaultValue: string | undefined): string | undefined =>
  value === undefined ? defaultValue : value === false ? undefined : value

function setOrRemove(headers: Record<string, string>, name: string, value: string | false | undefined): void {
  if (value === false) delete headers[name]
  else if (value !== undefined) headers[name] = value
}

function hstsOf(options: Static<typeof hsts>): string {
  return `max-age=${Math.floor(duration(options.maxAge) / 1000)}${options.subdomains ? '; includeSubDomains' : ''}${options.preload ? '; preload' : ''}`
}

// helmet computes constant headers per request, so they are read from one response at boot.
let helmetHeadersPromise: Promise<Readonly<Record<string, string>>> | undefined

/** Returns the headers that @fastify/helmet sets by default. */
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

import { type About, fp, type OptionFault, type TargetRoutes, Type } from '../src/kit/index.ts'
import { ignoreBodies } from '../src/lib/http/bodies.ts'
import { makeRewrite, rewriteFaults } from '../src/lib/http/rewrite.ts'
import type { Static } from '../src/lib/schema.ts'
import { yieldIfDue } from '../src/lib/time-slicing.ts'
import { EXPECTED, TEMPLATE } from '../src/lib/units.ts'
import { pathOf, queryOf, template, templateFaults, type ValueKind } from '../src/lib/values.ts'

export const key = 'redirect'
export const target = true

export const options = Type.Object(
  {
    to: Type.String({
      pattern: '^(/|https?://)',
      [TEMPLATE]: true,
      [EXPECTED]: 'a path or an http(s) URL',
      description: 'Where to: a path or a URL; on "/a/*" what comes after "/a" is kept, and so is the query.'
    }),
    status: Type.Unsafe<301 | 302 | 303 | 307 | 308>({
      type: 'integer',
      enum: [301, 302, 303, 307, 308],
      default: 308,
      description: 'The status: 308 and 301 are for good, 307 and 302 for now; 307 and 308 keep the method.'
    })
  },
  { additionalProperties: false, description: 'Sends the client elsewhere.' }
)

export type RedirectOptions = Static<typeof options>

export function faults({ to }: RedirectOptions, about: About): OptionFault[] {
  const { origin, path } = partsOf(to)
  const { paths } = about
  const itself = isOwn(origin, about, about.word('tls') ? 'https' : 'http')
    ? paths.find((from) => comparable(from.replace(/\/\*$/, '/')) === placeOf(path, from.endsWith('/*')))
    : undefined
  const loop: OptionFault[] =
    itself === undefined
      ? []
      : [
          {
            path: ['to'],
            message: `expected another address than the route's own, got "${to}", to which "${itself}" would lead again and again`
          }
        ]
  return [...templateFaults(origin, ['to'], ORIGIN), ...rewriteFaults(path, paths, ['to']), ...loop]
}

/** Tells whether a redirect adds a slash to an exact path, so that the route must not take the path with the slash. */
export function leavesSlash(
  { to }: RedirectOptions,
  from: string,
  about: Pick<About, 'hosts' | 'publicUrl'>
): boolean {
  const { origin, path } = partsOf(to)
  return (
    placeOf(path, false) === `${comparable(from)}/` && (isOwn(origin, about) || origin === about.publicUrl)
  )
}

/** Tells whether an origin is the route's own: none, the host of the request, or a host of the route, with the scheme that it is asked by. */
function isOwn(origin: string, { hosts }: Pick<About, 'hosts'>, scheme?: string): boolean {
  if (origin === '') return true
  const [, asked, host = ''] = /^(https?):\/\/(.*)$/i.exec(origin) ?? []
  const name = host.toLowerCase()
  if (scheme !== undefined && asked?.toLowerCase() !== scheme) return false
  return name === '{host}' || hosts.includes(name)
}

/** Takes what of an address chooses a route, in the form of `comparable`; behind a wildcard the last slash means nothing. */
function placeOf(to: string, wildcard: boolean): string {
  const path = comparable(to.replace(/[?#].*$/, ''))
  return wildcard && !path.endsWith('/') ? `${path}/` : path
}

/** Writes paths of routes and of addresses alike: parameters by their names, the rest decoded. */
function comparable(path: string): string {
  const named = path.replaceAll(/\/:(\w+)(?:\([^/]*\))?(?=\/|$)/g, '/{params.$1}')
  try {
    return decodeURIComponent(named)
  } catch {
    return named
  }
}

// What else a request says could make any host of it.
const ORIGIN: readonly ValueKind[] = ['host']

function partsOf(to: string): { origin: string; path: string } {
  const [, origin = '', path = ''] = /^(https?:\/\/[^/?]*)?(.*)$/.exec(percentEncoded(to)) ?? []
  return { origin, path: path.startsWith('/') ? path : `/${path}` }
}

const percentEncoded = (to: string): string => to.replaceAll(/[^\x21-\x7e]/gu, encodeURIComponent)

export default fp<TargetRoutes<RedirectOptions>>(
  async function redirect(app, { routes }) {
    ignoreBodies(app)
    for (const { info, mounts, options: said } of routes) {
      await yieldIfDue()
      const { origin, path } = partsOf(said.to)
      const start = template(origin, ORIGIN)
      const rewrite = makeRewrite(path, info.paths)
      const { status } = said
      for (const mount of mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: async function sendElsewhere(request, reply) {
            const made = rewrite(pathOf(request), request)
            const asked = queryOf(request.raw.url ?? '')
            const query = asked !== '' && made.includes('?') ? `&${asked.slice(1)}` : asked
            // Two slashes in front would name another host.
            const to = origin === '' ? made.replace(/^\/{2,}/, '/') : start.render(request) + made
            return reply
              .code(status)
              .header('location', to + query)
              .send()
          }
        })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)

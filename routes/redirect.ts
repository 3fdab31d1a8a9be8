import {
  type About,
  fp,
  leaveBodies,
  makeRewrite,
  type OptionFault,
  pathOf,
  queryOf,
  rewriteFaults,
  SAYS,
  type Static,
  type TargetRoutes,
  Type,
  template,
  templateFaults,
  type ValueKind
} from '../src/kit/index.ts'

export const key = 'redirect'
export const target = true

export const options = Type.Object(
  {
    to: Type.String({
      pattern: '^(/|https?://)',
      [SAYS]: 'a path or an http(s) URL',
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

export function faults({ to }: RedirectOptions, { paths }: About): OptionFault[] {
  const { origin, path, query } = partsOf(to)
  return [
    ...templateFaults(origin, ['to'], ORIGIN),
    ...rewriteFaults(path, paths, ['to']),
    ...rewriteFaults(query, paths, ['to'])
  ]
}

// What else a request says could make any host of it.
const ORIGIN: readonly ValueKind[] = ['host']

function partsOf(to: string): { origin: string; path: string; query: string } {
  const [, origin = '', path = '', query = ''] = /^(https?:\/\/[^/?]*)?([^?]*)(.*)$/.exec(to) ?? []
  return { origin, path: path === '' ? '/' : path, query }
}

export default fp<TargetRoutes<RedirectOptions>>(
  async function redirect(app, { routes }) {
    leaveBodies(app)
    for (const { info, mounts, options: said } of routes) {
      const { origin, path, query } = partsOf(said.to)
      const patterns = info.path.split(', ')
      const start = template(origin, ORIGIN)
      const rewrite = makeRewrite(path, patterns)
      // Without its "/*" a pattern has no rest that would follow the query.
      const ask = makeRewrite(
        query,
        patterns.map((pattern) => pattern.replace(/\/\*$/, ''))
      )
      const { status } = said
      for (const mount of mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: async function sendElsewhere(request, reply) {
            const asked = pathOf(request)
            const made = rewrite(asked, request)
            const ours = ask(asked, request)
            const theirs = queryOf(request.raw.url ?? '')
            const both = ours === '' || theirs === '' ? ours + theirs : `${ours}&${theirs.slice(1)}`
            // Two slashes in front would name another host.
            const to = origin === '' ? made.replace(/^\/{2,}/, '/') : start.render(request) + made
            return reply
              .code(status)
              .header('location', to + both)
              .send()
          }
        })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)

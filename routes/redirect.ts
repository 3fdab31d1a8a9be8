import {
  type About,
  fp,
  makeRewrite,
  type OptionFault,
  pathOf,
  queryOf,
  SAYS,
  type Static,
  shapeOf,
  type TargetRoutes,
  TemplateError,
  Type
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
  return rewriteFaults(to, paths, ['to'])
}

/** Tells what is wrong with a text that makes a path out of another one. */
export function rewriteFaults(to: string, paths: readonly string[], path: string[]): OptionFault[] {
  try {
    makeRewrite(to, paths)
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return [{ path, message: error.message }]
  }
  const known = paths.map((pattern) => [...shapeOf(pattern).params.keys()])
  const missing = [...to.matchAll(/(?<!\{)\{params\.(\w+)\}/g)]
    .map(([, name = '']) => name)
    .find((name) => known.some((params) => !params.includes(name)))
  return missing === undefined
    ? []
    : [
        {
          path,
          message: `The path has no parameter ":${missing}"; it has ${
            known
              .flat()
              .map((name) => `:${name}`)
              .join(', ') || 'none'
          }`
        }
      ]
}

export default fp<TargetRoutes<RedirectOptions>>(
  async function redirect(app, { routes }) {
    for (const { info, mounts, options: said } of routes) {
      const [, origin = '', to = ''] = /^(https?:\/\/[^/]*)?(.*)$/.exec(said.to) ?? []
      const [path = '', query] = to.split('?', 2)
      const rewrite = makeRewrite(path === '' ? '/' : path, info.path.split(', '))
      const { status } = said
      for (const mount of mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: async function sendElsewhere(request, reply) {
            const made = rewrite(pathOf(request), request)
            const theirs = queryOf(request.raw.url ?? '')
            const asked =
              query === undefined ? theirs : theirs === '' ? `?${query}` : `?${query}&${theirs.slice(1)}`
            // Two slashes in front would name another host.
            return reply
              .code(status)
              .header('location', `${origin}${origin === '' ? made.replace(/^\/{2,}/, '/') : made}${asked}`)
              .send()
          }
        })
    }
  },
  { name: key, fastify: '5.x' }
)

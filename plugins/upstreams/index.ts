import { readFileSync } from 'node:fs'
import {
  createError,
  Duration,
  DurationOrNone,
  File,
  fp,
  type OptionFault,
  SAYS,
  type Static,
  Type
} from '../../src/kit/index.ts'
import { originOf, Upstream } from './upstream.ts'

export const key = 'upstreams'

const URL_PATTERN = '^(https?://[^/?#\\s]+(/[^?#\\s]*)?|unix:/[^?#\\s]+)$'
const url = (description: string) =>
  Type.String({
    pattern: URL_PATTERN,
    [SAYS]: 'a URL such as "http://10.0.0.9:4000" or "unix:/run/app.sock"',
    description
  })

const target = Type.Object(
  {
    url: url('Where the target listens.'),
    weight: Type.Integer({
      default: 1,
      minimum: 0,
      maximum: 1000,
      description: 'Its share of the requests, next to the weights of the others.'
    })
  },
  { additionalProperties: false }
)

export const timeouts = Type.Object(
  {
    connect: Duration({
      default: '2s',
      description: 'How long a connection may take to open, TLS included.'
    }),
    headers: DurationOrNone({
      default: '30s',
      description: 'How long the head of an answer may take, from the last byte of the request on.'
    }),
    body: DurationOrNone({
      default: '60s',
      description: 'How long a body may stand still between two bytes.'
    }),
    keepAlive: Duration({
      default: '30s',
      description: 'How long an idle connection is kept for the next request.'
    })
  },
  { additionalProperties: false, description: 'How long an upstream may take.', default: {} }
)

const tls = Type.Object(
  {
    ca: Type.Optional(
      File({ description: 'A file with the certificates of the authorities that are trusted, in PEM.' })
    ),
    cert: Type.Optional(File({ description: 'A file with the certificate that the gateway shows, in PEM.' })),
    key: Type.Optional(File({ description: 'A file with the key of that certificate, in PEM.' })),
    serverName: Type.Optional(
      Type.String({ description: "The name that is asked for (SNI) and checked; by default the URL's." })
    ),
    verify: Type.Boolean({
      default: true,
      description: "Whether the upstream's certificate is verified; false is for tests alone."
    })
  },
  { additionalProperties: false, description: 'TLS towards the upstream.' }
)

const connections = Type.Object(
  {
    max: Type.Integer({
      default: 128,
      minimum: 1,
      description: 'The most connections to one target at a time.'
    }),
    pending: Type.Integer({
      default: 256,
      minimum: 0,
      description:
        'The most requests to one target that may wait for a connection; beyond them the answer is 503.'
    })
  },
  { additionalProperties: false, description: 'How many connections are opened.', default: {} }
)

export const upstream = Type.Object(
  {
    url: Type.Optional(url('Where the one target listens; its path comes before every path.')),
    targets: Type.Optional(
      Type.Array(
        Type.Unsafe<string | Static<typeof target>>({ anyOf: [url('Where the target listens.'), target] }),
        { minItems: 1, description: 'The targets, each a URL or a URL with a weight.' }
      )
    ),
    timeouts,
    connections,
    tls: Type.Optional(tls)
  },
  { additionalProperties: false, description: 'One service behind the gateway, at one or more targets.' }
)

export const options = Type.Record(Type.String({ pattern: '^[\\w.-]+$' }), upstream, {
  additionalProperties: false,
  description: 'The services behind the gateway, by name.'
})
export const override = false
export const always = true
export type UpstreamOptions = Static<typeof upstream>
export type UpstreamsOptions = Static<typeof options>

/** No upstream goes by this name. */
export const UpstreamUnknown = createError<[string, string]>(
  'SP_ERR_UPSTREAM_UNKNOWN',
  'No upstream "%s"; the config has %s',
  500
)

export function faults(upstreams: UpstreamsOptions): OptionFault[] {
  const found: OptionFault[] = []
  for (const [name, said] of Object.entries(upstreams)) {
    if ((said.url === undefined) === (said.targets === undefined))
      found.push({ path: [name], message: `The upstream "${name}" needs either "url" or "targets"` })
    for (const file of ['ca', 'cert', 'key'] as const) {
      const path = said.tls?.[file]
      if (path === undefined) continue
      try {
        readFileSync(path)
      } catch {
        found.push({
          path: [name, 'tls', file],
          message: `The file "${path}" can't be read; files are relative to the config that names them`
        })
      }
    }
  }
  return found
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Finds the upstream of a name, or makes the one for a URL; throws SP_ERR_UPSTREAM_UNKNOWN. */
    upstream(nameOrUrl: string): Upstream
  }
}

export default fp<UpstreamsOptions>(
  async function upstreams(app, root) {
    const made = new Map<string, Upstream>()
    app.decorate('upstream', (nameOrUrl: string) => {
      let found = made.get(nameOrUrl)
      if (found !== undefined) return found
      const said = Object.hasOwn(root, nameOrUrl) ? root[nameOrUrl] : originOf(nameOrUrl)
      if (said === undefined) throw new UpstreamUnknown(nameOrUrl, Object.keys(root).join(', ') || 'none')
      found = new Upstream(app, Object.hasOwn(root, nameOrUrl) ? nameOrUrl : 'url', said)
      made.set(nameOrUrl, found)
      return found
    })
  },
  { name: key, fastify: '5.x' }
)

export type { Target } from './upstream.ts'
export { Upstream }

import { makeCertificate } from '../src/testing/certificate.ts'
import { type ConformanceSetup, upstream } from '../src/testing/index.ts'
import { SECRET } from './helpers.ts'

/** A route that answers everything. */
export const fine = { path: '/*', respond: { body: 'fine' } }

/** Returns the set-up of a concern that is set at the root. */
const atRoot = (options: object, rest: Partial<ConformanceSetup> = {}): ConformanceSetup => ({
  ...rest,
  config: { ...options, routes: [fine] }
})

/** Returns the set-up of a gate that refuses every request to /refused. */
const onRoute = (options: object, rest: Partial<ConformanceSetup> = {}): ConformanceSetup => ({
  refused: '/refused',
  ...rest,
  config: { routes: [fine, { ...fine, path: '/refused', ...options }] }
})

/** A config for each concern and target, and a request that it refuses. */
export const SETUPS: Readonly<Record<string, ConformanceSetup>> = {
  errors: atRoot({ errors: { format: 'text' } }),
  requestId: atRoot({ requestId: { trust: true } }),
  tracing: atRoot({ tracing: { endpoint: 'http://127.0.0.1:9/v1/traces', sample: '0%' } }),
  accessLog: atRoot({ accessLog: { headers: ['user-agent'] } }),
  metrics: atRoot({ metrics: {} }),
  responseTime: atRoot({ responseTime: {} }),
  paths: atRoot({ paths: { mode: 'report' } }),
  overload: {
    refused: [{ path: '/held', pending: true }, '/refused'],
    config: async (t) => ({
      routes: [
        { ...fine, path: '/refused', overload: { maxInFlight: 1 } },
        { path: '/held', overload: {}, proxy: { upstream: (await upstream(t, () => {})).url } },
        fine
      ]
    })
  },
  securityHeaders: atRoot({ securityHeaders: { frame: 'deny' } }),
  cors: atRoot({ cors: { origins: ['https://a.example'] } }),
  store: atRoot({ store: { timeout: '1s' } }),
  tls: {
    config: async (t) => {
      const { cert, key } = await makeCertificate(t)
      return { tls: { certificates: [{ cert, key }] }, routes: [fine] }
    }
  },
  upstreams: {
    config: async (t) => ({
      upstreams: { search: { targets: [(await upstream(t)).url] } },
      routes: [{ path: '/', proxy: { upstream: 'search' } }]
    })
  },
  openapi: atRoot({ openapi: { tags: ['all'] } }),
  session: atRoot({ session: { idle: '1h' } }, { env: { SESSION_SECRET: SECRET } }),
  slash: atRoot({ slash: 'strip' }),
  maintenance: onRoute({ maintenance: { on: true } }),
  limits: onRoute({ limits: { url: '4b' } }),
  ipAccess: onRoute({ ipAccess: { deny: ['127.0.0.1'] } }),
  rateLimit: onRoute({ rateLimit: { max: 1, window: '1h' } }, { refused: ['/refused', '/refused'] }),
  ask: onRoute({ ask: { upstream: 'http://127.0.0.1:9', path: '/check' } }),
  auth: onRoute({ auth: { apiKeys: { list: [{ id: 'ada', secret: 'a key of ada, long enough' }] } } }),
  csrf: onRoute(
    { csrf: {} },
    { refused: { path: '/refused', method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } } }
  ),
  format: {
    config: {
      format: { from: 'xml' },
      routes: [{ path: '/', respond: { headers: { 'content-type': 'application/xml' }, body: '<a/>' } }]
    }
  },
  transform: atRoot({ transform: { response: { omit: ['*.secret'] } } }),
  validate: onRoute({ validate: { query: { type: 'object', required: ['q'] } } }),
  headers: atRoot({ headers: { response: { 'x-a': 'b' } } }),
  query: atRoot({ query: { a: 'b' } }),
  cache: atRoot({ cache: { ttl: '1m' } }),
  fault: onRoute({ fault: { status: 503 } }),
  compress: atRoot({ compress: {} }),
  proxy: {
    config: async (t) => ({ routes: [{ path: '/', proxy: { upstream: (await upstream(t)).url } }] })
  },
  aggregate: {
    config: async (t) => {
      const { url } = await upstream(t)
      return { routes: [{ path: '/', aggregate: { legs: { a: { upstream: url, path: '/a' } } } }] }
    }
  },
  redirect: { config: { routes: [{ path: '/', redirect: { to: '/b' } }] } },
  respond: { config: { routes: [{ path: '/', respond: { body: 'fine' } }] } },
  files: { config: { routes: [{ path: '/*', files: { root: 'examples/site' } }] } },
  apiDocs: { config: { routes: [{ path: '/*', apiDocs: {} }] } }
}

import type { AboutPlan, Comparison, PlanWarning } from '../../src/kit/concern.ts'
import { defineWarning, fp, type OptionFault, Type } from '../../src/kit/index.ts'
import type { Store } from '../../src/lib/contracts/store.ts'
import { connectionOptions, tlsClientOptions } from '../../src/lib/http/tls-client.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, duration } from '../../src/lib/units.ts'

export const key = 'store'

const url = (description: string) =>
  Type.String({
    pattern: '^(rediss?://[^\\s]+|unix:/[^\\s]+)$',
    'x-says':
      'a URL such as "redis://localhost:6379", "rediss://user:password@cache:6380/0" or "unix:/run/redis.sock"',
    description,
    examples: ['redis://localhost:6379']
  })

export const options = Type.Object(
  {
    redis: Type.Optional(
      url('The URL of the Redis or Valkey that instances share; rediss:// for TLS. REDIS_URL by default.')
    ),
    cluster: Type.Optional(
      Type.Array(url('The URL of a node of the cluster.'), {
        minItems: 1,
        description: 'Some nodes of a Redis Cluster, which name the others; instead of "redis".',
        examples: [['redis://10.0.0.1:6379', 'redis://10.0.0.2:6379']]
      })
    ),
    sentinel: Type.Optional(
      Type.Object(
        {
          name: Type.String({ minLength: 1, description: 'The name of the group of servers (master name).' }),
          nodes: Type.Array(url('The URL of a sentinel.'), {
            minItems: 1,
            description: 'The URLs of the sentinels.',
            examples: [['redis://10.0.0.1:26379', 'redis://10.0.0.2:26379']]
          }),
          username: Type.Optional(Type.String({ description: 'The user name at the servers.' })),
          password: Type.Optional(Type.String({ description: 'The password at the servers.' })),
          db: Type.Integer({ default: 0, minimum: 0, description: 'The number of the database.' })
        },
        {
          additionalProperties: false,
          description: 'Sentinels, which name the current primary server; instead of "redis".',
          examples: [{ name: 'main', nodes: ['redis://10.0.0.1:26379', 'redis://10.0.0.2:26379'] }]
        }
      )
    ),
    tls: Type.Optional(
      Type.Object(tlsClientOptions, {
        additionalProperties: false,
        description: 'TLS options of the connections to the store.',
        examples: [{ ca: 'redis-ca.pem' }]
      })
    ),
    prefix: Type.String({
      default: 'sallyport:',
      description: 'The prefix of every key; gateways with the same prefix share their data.'
    }),
    timeout: Duration({
      positive: true,
      default: '500ms',
      description:
        'The timeout of one reply. A store that exceeds it is unavailable: calls fail at once until it recovers.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Where counters, sessions and throttles are stored: in the memory of the process, or in Redis.',
    examples: [{ redis: 'redis://localhost:6379' }]
  }
)

export const override = false
export const stateless = true
export const rootOnly = true
export const always = true
const workersWithoutStore = defineWarning('SP_WARN_STORE_WORKERS', 'low', 'Several workers without a store')

const unverified = defineWarning(
  'SP_WARN_STORE_VERIFY',
  'high',
  'The certificate of the store is not verified'
)

export const planWarnings = (store: StoreOptions, about: AboutPlan): PlanWarning[] => [
  ...(store.tls?.verify === false
    ? [
        unverified(
          'The store may be anybody who answers at its address, because "verify" is false; name its authority with "ca"',
          ['tls', 'verify']
        )
      ]
    : []),
  ...workerWarnings(store, about)
]

function workerWarnings(
  { redis, cluster, sentinel }: StoreOptions,
  { workers, usingStore }: AboutPlan
): PlanWarning[] {
  if (workers <= 1 || usingStore.length === 0) return []
  if (redis !== undefined || cluster !== undefined || sentinel !== undefined) return []
  const uses = usingStore.join('" and "')
  return [
    workersWithoutStore(
      `Several workers without a "store" share "${uses}" by messages: limits allow slightly more, and the state is lost when the workers end; with a Redis (REDIS_URL) limits are exact`
    )
  ]
}

export const variables = { redis: 'REDIS_URL' }
export const given = ({
  REDIS_URL
}: Readonly<Record<string, string | undefined>>): { redis: string } | undefined =>
  REDIS_URL === undefined || REDIS_URL === '' ? undefined : { redis: REDIS_URL }
export type StoreOptions = Static<typeof options>

export function faults({ redis, cluster, sentinel }: StoreOptions): OptionFault[] {
  const found: OptionFault[] = []
  const configured = Object.entries({ redis, cluster, sentinel }).filter(([, value]) => value !== undefined)
  if (configured.length > 1)
    found.push({
      path: [configured[1]?.[0] ?? ''],
      message: `"${configured.map(([name]) => name).join('" and "')}" are different stores; expected one of them (REDIS_URL counts as "redis")`
    })
  if (cluster !== undefined && new Set(cluster.map((node) => node.slice(0, node.indexOf(':')))).size > 1)
    found.push({
      path: ['cluster'],
      message: 'expected nodes of one scheme, got redis:// and rediss://'
    })
  return found
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The store of counters, sessions and throttles. */
    store: Store
  }
}

const ELSEWHERE = {
  class: 'loosened-limits',
  message: 'keeps counts and sessions elsewhere, where they begin anew'
} as const
const TRUSTS = {
  class: 'widened-access',
  message: 'trusts others: certificates of the store by another authority or name'
} as const
const SHOWS = { class: 'exposure', message: 'shows another credential to the store' } as const

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes: (before: StoreOptions | undefined, after: StoreOptions | undefined) => {
    const [verified, verifies] = [before?.tls?.verify !== false, after?.tls?.verify !== false]
    const path = ['tls', 'verify']
    if (verified === verifies || before === undefined || after === undefined) return []
    return verifies
      ? [{ class: 'narrowed-access', path, message: 'verifies the certificate of the store' }]
      : [{ class: 'widened-access', path, message: 'accepts any certificate of the store' }]
  },
  options: {
    redis: ELSEWHERE,
    cluster: ELSEWHERE,
    'sentinel.name': ELSEWHERE,
    'sentinel.nodes': ELSEWHERE,
    'sentinel.db': ELSEWHERE,
    'sentinel.username': SHOWS,
    'sentinel.password': SHOWS,
    'tls.ca': TRUSTS,
    'tls.serverName': TRUSTS,
    'tls.cert': SHOWS,
    'tls.key': SHOWS,
    prefix: ELSEWHERE,
    timeout: { class: 'timing', message: 'waits another time for the store' }
  },
  onOff: ELSEWHERE
}

export default fp<StoreOptions>(
  async function storeConcern(app, options) {
    const isShared =
      options.redis !== undefined || options.cluster !== undefined || options.sentinel !== undefined
    if (!isShared || app.simulation !== null) {
      app.decorate('store', { shared: null })
      return
    }
    // ioredis takes a tenth of a second to load.
    const { RedisStore } = await import('./redis.ts')
    const redis = app.resources.lease(
      app,
      `store ${JSON.stringify(options)}`,
      () => new RedisStore({ ...options, timeout: duration(options.timeout), tls: tlsOf(options) }, app.log),
      (redis) => redis.close()
    )
    app.decorate('store', { shared: redis })
    // Resolves after the timeout at the latest: a gateway also boots without its store.
    await redis.opened
  },
  { name: key, fastify: '5.x' }
)

function tlsOf({ tls, redis = '', cluster: [node = ''] = [], sentinel }: StoreOptions): object | undefined {
  const plain = !(redis || node || sentinel?.nodes[0] || '').startsWith('rediss:')
  if (tls === undefined) return plain ? undefined : {}
  return connectionOptions(tls)
}

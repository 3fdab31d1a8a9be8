import { type AboutPlan, fp, type OptionFault, type PlanWarning, Type } from '../../src/kit/index.ts'
import type { Store } from '../../src/lib/contracts/store.ts'
import { connectionOptions, tlsClientOptions } from '../../src/lib/http/tls-client.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Duration, duration } from '../../src/lib/units.ts'
import { RedisStore } from './redis.ts'

export const key = 'store'

const url = (description: string) =>
  Type.String({
    pattern: '^(rediss?://[^\\s]+|unix:/[^\\s]+)$',
    'x-says':
      'a URL such as "redis://localhost:6379", "rediss://user:password@cache:6380/0" or "unix:/run/redis.sock"',
    description
  })

export const options = Type.Object(
  {
    redis: Type.Optional(
      url('The Redis or Valkey that instances share, as a URL; rediss:// is TLS. By default REDIS_URL.')
    ),
    cluster: Type.Optional(
      Type.Array(url('A node of the cluster.'), {
        minItems: 1,
        description: 'Some nodes of a Redis Cluster, from which the others are found; in place of "redis".'
      })
    ),
    sentinel: Type.Optional(
      Type.Object(
        {
          name: Type.String({ minLength: 1, description: 'The name of the group of servers.' }),
          nodes: Type.Array(url('A sentinel.'), { minItems: 1, description: 'The sentinels that know it.' }),
          username: Type.Optional(Type.String({ description: 'Who logs in at the servers.' })),
          password: Type.Optional(Type.String({ description: 'The password at the servers.' })),
          db: Type.Integer({ default: 0, minimum: 0, description: 'The number of the database.' })
        },
        {
          additionalProperties: false,
          description: 'Sentinels, which tell the server that leads now; in place of "redis".'
        }
      )
    ),
    tls: Type.Optional(
      Type.Object(tlsClientOptions, {
        additionalProperties: false,
        description: 'How the gateway speaks TLS with the store.'
      })
    ),
    prefix: Type.String({
      default: 'sallyport:',
      description: 'What every key begins with; gateways with the same prefix share all.'
    }),
    timeout: Duration({
      positive: true,
      default: '500ms',
      description:
        'How long the store may take for one answer. One that takes longer counts as away, and nobody waits for it until it is back.'
    })
  },
  {
    additionalProperties: false,
    description: 'Where counters, sessions and throttles are kept: the memory of this process, or Redis.'
  }
)

export const override = false
export const rootOnly = true
export const always = true
export function planWarnings(
  { redis, cluster, sentinel }: StoreOptions,
  { workers, usingStore }: AboutPlan
): PlanWarning[] {
  if (workers <= 1 || usingStore.length === 0) return []
  if (redis !== undefined || cluster !== undefined || sentinel !== undefined) return []
  const uses = usingStore.join('" and "')
  return [
    {
      message: `Several workers without a "store" share "${uses}" by telling each other: limits let a little more through, and all is lost when they end; a Redis (REDIS_URL) would be exact`
    }
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
  const said = Object.entries({ redis, cluster, sentinel }).filter(([, value]) => value !== undefined)
  if (said.length > 1)
    found.push({
      path: [said[1]?.[0] ?? ''],
      message: `"${said.map(([name]) => name).join('" and "')}" are different stores; one of them would do (REDIS_URL counts as "redis")`
    })
  if (cluster !== undefined && new Set(cluster.map((node) => node.slice(0, node.indexOf(':')))).size > 1)
    found.push({
      path: ['cluster'],
      message: 'Some nodes are redis:// and some rediss://; all of them are one kind'
    })
  return found
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Where counters, sessions and throttles live. */
    store: Store
  }
}

export default fp<StoreOptions>(
  async function storeConcern(app, said) {
    if (said.redis === undefined && said.cluster === undefined && said.sentinel === undefined) {
      app.decorate('store', { shared: null })
      return
    }
    const redis = app.resources.lease(
      app,
      `store ${JSON.stringify(said)}`,
      () => new RedisStore({ ...said, timeout: duration(said.timeout), tls: tlsOf(said) }, app.log),
      (kept) => kept.close()
    )
    app.decorate('store', { shared: redis })
    // Not for ever: without its store a gateway does what each use of it says.
    await redis.opened
  },
  { name: key, fastify: '5.x' }
)

function tlsOf({ tls, redis = '', cluster: [node = ''] = [], sentinel }: StoreOptions): object | undefined {
  const plain = !(redis || node || sentinel?.nodes[0] || '').startsWith('rediss:')
  if (tls === undefined) return plain ? undefined : {}
  return connectionOptions(tls)
}

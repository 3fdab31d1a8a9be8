import t from 'tap'
import type { CorsOptions } from '../../plugins/cors.ts'
import type { UpstreamOptions } from '../../plugins/upstreams/index.ts'
import { defineConfig, type GatewayConfig, type RouteConfig } from '../../src/index.ts'
import type { Override } from '../../src/lib/schema.ts'

// The types are checked by "npm run typecheck"; a wrong one does not compile.

declare module '../../src/gateway/define.ts' {
  interface ExtensionOptions {
    tenant?: { known: readonly string[] } | boolean
  }
}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

const isTrue = <T extends true>(value: T): T => value

t.test('the type of a config follows from the schemas of its concerns and targets', async (t) => {
  isTrue<Equal<GatewayConfig['cors'], Override<CorsOptions> | boolean | undefined>>(true)
  isTrue<Equal<RouteConfig['cors'], GatewayConfig['cors']>>(true)
  isTrue<Equal<GatewayConfig['upstreams'], Readonly<Record<string, Override<UpstreamOptions>>> | undefined>>(
    true
  )
  // What only the root can set is no key of a route, and only a target with defaults is a key of the root.
  isTrue<Equal<Extract<'session' | 'store' | 'tls' | 'paths' | 'upstreams', keyof RouteConfig>, never>>(true)
  isTrue<Equal<Extract<'proxy' | 'respond', keyof GatewayConfig>, 'proxy'>>(true)
  isTrue<Equal<Extract<'proxy' | 'respond', keyof RouteConfig>, 'proxy' | 'respond'>>(true)

  const config = defineConfig({
    rateLimit: { max: 9 },
    routes: [{ path: '/a', rateLimit: false, respond: { body: 'fine' }, 'x-note': 'mine' }]
  })
  // @ts-expect-error: a number is expected
  defineConfig({ rateLimit: { max: 'nine' }, routes: [] })
  // @ts-expect-error: no concern and no target has this key
  defineConfig({ routes: [], rateLimits: true })
  t.equal(defineConfig(config), config, 'and a config is returned unchanged')
})

t.test('an extension declares the type of its options by merging', async (t) => {
  isTrue<Equal<RouteConfig['tenant'], { known: readonly string[] } | boolean | undefined>>(true)
  isTrue<Equal<GatewayConfig['tenant'], RouteConfig['tenant']>>(true)
  const { tenant } = defineConfig({ tenant: { known: ['acme'] }, routes: [{ path: '/a', tenant: false }] })
  t.strictSame(tenant, { known: ['acme'] })
})

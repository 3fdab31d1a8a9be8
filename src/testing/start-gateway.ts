import type { FastifyInstance } from 'fastify'
import type { Catalog } from '../config/catalog.ts'
import { planOf } from '../config/load.ts'
import type { Plan } from '../config/plan-types.ts'
import { readSource } from '../config/read-source.ts'
import { objectSource, type Source } from '../config/source.ts'
import { buildGateway } from '../gateway/build.ts'
import { catalog as own } from '../gateway/catalog.ts'
import { Resources } from '../gateway/resources.ts'
import type { Peers } from '../lib/contracts/peers.ts'
import { isObject } from '../lib/schema.ts'
import type { Served } from '../server/served.ts'
import { serve } from '../server/server.ts'
import { makeCertificate, type TestCertificate } from './certificate.ts'
import { type Fetch, openClient } from './client.ts'
import type { GatewayTestOptions, TestGateway } from './gateway.ts'
import { openLog } from './log.ts'
import { atEnd, type TestScope } from './scope.ts'

/** What else the checks of this folder set. */
export interface StartOptions extends GatewayTestOptions {
  /** The concerns and targets; those of the gateway itself by default. */
  readonly catalog?: Catalog
  /** The other workers. */
  readonly peers?: Peers
}

/** A test gateway, and what it is made of. */
export interface StartedGateway extends TestGateway {
  readonly resources: Resources
  readonly plan: Plan
}

/** Loads, builds and serves a config on a free port until the end of a test. */
export async function startGateway(
  t: TestScope,
  config: object | string,
  options: StartOptions = {}
): Promise<StartedGateway> {
  const { env = {}, folder = process.cwd(), https = false, level, peers = null, catalog = own } = options
  const certificate = https ? await makeCertificate(t) : undefined
  const log = openLog(level)
  const resources = new Resources(peers)
  const load = async (from: object | string): Promise<Plan> => {
    const source = typeof from === 'string' ? await readSource(from) : objectSource(from, 'config', folder)
    return planOf(withCertificate(source, certificate), catalog, env)
  }
  const build = (plan: Plan): Promise<FastifyInstance> =>
    buildGateway(plan, resources, log.log, { trace: options.trace === true })
  let plan = await load(config)
  let app = await build(plan)
  const served = await serve(app, { host: '127.0.0.1', port: 0, log: log.log, drainTimeout: 5000 })
  atEnd(t, () => served.close())
  const url = `${app.tls === null ? 'http' : 'https'}://127.0.0.1:${served.address.port}`
  return {
    url,
    log,
    resources,
    get app() {
      return app
    },
    get plan() {
      return plan
    },
    fetch: openClient(t, url, certificate?.ca, '1.1'),
    http2: http2Client(t, url, certificate),
    inject: (request) => app.inject(request),
    async reload(next = config) {
      const nextPlan = await load(next)
      const nextApp = await build(nextPlan)
      await swap(served, nextApp)
      plan = nextPlan
      app = nextApp
    },
    close: () => served.close()
  }
}

async function swap(served: Served, next: FastifyInstance): Promise<void> {
  try {
    served.swap(next)
  } catch (error) {
    await next.close()
    throw error
  }
}

function withCertificate(source: Source, certificate: TestCertificate | undefined): Source {
  if (certificate === undefined || !isObject(source.value)) return source
  const { cert, key } = certificate
  const tls = isObject(source.value['tls']) ? source.value['tls'] : {}
  return { ...source, value: { ...source.value, tls: { ...tls, certificates: [{ cert, key }] } } }
}

/** Returns a client over HTTP/2, which connects at its first request. */
function http2Client(t: TestScope, url: string, certificate: TestCertificate | undefined): Fetch {
  if (certificate !== undefined) return openClient(t, url, certificate.ca, '2')
  return async () => {
    throw new Error('expected a gateway with HTTP/2, got one without TLS; start it with { https: true }')
  }
}

import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { loadPlan, planOf } from './config/load.ts'
import type { Plan } from './config/plan-types.ts'
import { objectSource } from './config/source.ts'
import { buildGateway as build, type GatewayOptions } from './gateway/build.ts'
import { catalog } from './gateway/catalog.ts'
import { Resources } from './gateway/resources.ts'

export { ConfigError, type Fault, showFault } from './config/fault.ts'
export type { Plan, PlannedRoute } from './config/plan-types.ts'
export {
  defineConfig,
  type ExtensionOptions,
  type GatewayConfig,
  type RouteConfig
} from './gateway/define.ts'
export { Resources, Resources as Keep } from './gateway/resources.ts'
export type { Served, ServeOptions } from './server/served.ts'
export { serve } from './server/server.ts'
export type { GatewayOptions }

/** Reads and checks a config, a file or an object; throws a ConfigError with all errors. */
export async function loadConfig(
  config: string | object,
  env: Readonly<Record<string, string | undefined>> = process.env
): Promise<Plan> {
  return typeof config === 'string'
    ? loadPlan(config, catalog, env)
    : planOf(objectSource(config), catalog, env)
}

/** Builds a gateway from a plan: a FastifyInstance that is ready and has no socket. */
export async function buildGateway(
  plan: Plan,
  resources: Resources = new Resources(),
  log = pino({ level: 'silent' }),
  options: GatewayOptions = {}
): Promise<FastifyInstance> {
  return build(plan, resources, log, options)
}

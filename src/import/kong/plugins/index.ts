import { literal } from '../../values.ts'
import type { Plugin } from '../source.ts'
import { addAuth, isAuth } from './auth.ts'
import type { RouteContext } from './context.ts'
import { isRateLimit } from './rate-limiting.ts'
import { addBodyLimit, addCache, addCors, addIpAccess, addRedirect, addTermination } from './responses.ts'
import { addRequestTransformer, addResponseTransformer } from './transformers.ts'

type Add = (plugin: Plugin, context: RouteContext) => void

const PLUGINS: Readonly<Record<string, Add>> = {
  cors: addCors,
  'ip-restriction': addIpAccess,
  'request-size-limiting': addBodyLimit,
  'request-transformer': addRequestTransformer,
  'response-transformer': addResponseTransformer,
  'proxy-cache': addCache,
  'correlation-id': addRequestId,
  prometheus: (_plugin, { translation }) => {
    translation.config['metrics'] = true
    translation.done()
  },
  redirect: addRedirect,
  'request-termination': addTermination
}

// They watch, and refuse nothing.
const OBSERVERS: ReadonlySet<string> = new Set(
  'http-log tcp-log udp-log file-log syslog loggly datadog statsd statsd-advanced zipkin opentelemetry inspector kafka-log acme canary'.split(
    ' '
  )
)

/** Translates the plugins of a route, limits of rates aside; the route is closed if one that could refuse requests has no translation. */
export function addPlugins(plugins: readonly Plugin[], context: RouteContext): void {
  const { translation } = context
  addAuth(
    plugins.filter(({ name }) => isAuth(name)),
    context
  )
  // A plugin that answers itself comes last, so that it replaces the target.
  for (const name of Object.keys(PLUGINS))
    for (const plugin of plugins.filter((each) => each.name === name)) PLUGINS[name]?.(plugin, context)
  for (const plugin of plugins) {
    const { name, node } = plugin
    if (isAuth(name) || isRateLimit(name) || Object.hasOwn(PLUGINS, name)) continue
    if (OBSERVERS.has(name)) translation.missing(node.line, `plugin ${name}`)
    else context.close(node.line, `plugin ${name}`)
  }
}

function addRequestId({ config }: Plugin, { translation }: RouteContext): void {
  const header = (config.get('header_name').text ?? 'Kong-Request-ID').toLowerCase()
  translation.config['requestId'] = { header: literal(header), trust: true }
  translation.done()
}

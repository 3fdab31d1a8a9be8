import type { AboutRoute } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import type { ProxyOptions } from './options.ts'
import { timeoutWarnings } from './timeouts.ts'

/** Returns what `check` warns of on a route. */
export const warnings = (options: ProxyOptions, about: AboutRoute): string[] => [
  ...timeoutWarnings(options, about),
  ...unchangedMessages(options, about)
]

/** Warns of WebSockets, if they are configured where bodies are changed. */
function unchangedMessages({ websocket }: ProxyOptions, { optionsOf }: AboutRoute): string[] {
  const transform = optionsOf('transform')
  const isChanged =
    isObject(transform) && (transform['request'] !== undefined || transform['response'] !== undefined)
  return isChanged && isObject(websocket)
    ? ['has WebSockets, whose messages "transform" does not change; "websocket": false refuses them']
    : []
}

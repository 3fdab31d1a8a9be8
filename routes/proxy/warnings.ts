import { type AboutRoute, defineWarning, type Warning } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import type { ProxyOptions } from './options.ts'
import { timeoutWarnings } from './timeouts.ts'

const unchangedMessage = defineWarning(
  'SP_WARN_PROXY_WEBSOCKET_UNCHANGED',
  'low',
  'Messages of WebSockets pass unchanged beside bodies that are changed'
)

/** Returns what `check` warns of on a route. */
export const warnings = (options: ProxyOptions, about: AboutRoute): Warning[] => [
  ...timeoutWarnings(options, about),
  ...unchangedMessages(options, about)
]

/** Warns of WebSockets, if they are configured where bodies are changed. */
function unchangedMessages({ websocket }: ProxyOptions, { optionsOf }: AboutRoute): Warning[] {
  const transform = optionsOf('transform')
  const isChanged =
    isObject(transform) && (transform['request'] !== undefined || transform['response'] !== undefined)
  return isChanged && isObject(websocket)
    ? [
        unchangedMessage(
          'has WebSockets, whose messages "transform" does not change; "websocket": false refuses them',
          ['websocket']
        )
      ]
    : []
}

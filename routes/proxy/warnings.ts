import { type AboutRoute, defineWarning, type Warning } from '../../src/kit/index.ts'
import { requiresCaller } from '../../src/lib/http/cache-options.ts'
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
  ...unchangedMessages(options, about),
  ...unlimitedLogins(about)
]

const unlimitedLogin = defineWarning(
  'SP_WARN_PROXY_LOGIN_UNLIMITED',
  'medium',
  'A log-in without a limit of attempts'
)

// The last segment of paths that take a password, a code or an address of a user, also as "wp-login.php".
const LOGIN =
  /^(?:wp-)?(?:log[-_]?(?:in|on)|sign[-_]?(?:in|on|up)|register|authenticate|token|otp|2fa|mfa|magic[-_]?link|(?:forgot|reset|change|recover)[-_]?password|password[-_]?(?:reset|forgot|recovery)|verify[-_]?(?:otp|code|password))(?:\.(?:php|aspx?|jsp|cgi|do))?$/i

/** Warns of a route that looks like a log-in of the upstream, and that anybody may call as often as they like. */
function unlimitedLogins({ paths, methods, optionsOf }: AboutRoute): Warning[] {
  if (methods !== undefined && !methods.includes('POST')) return []
  const limit = optionsOf('rateLimit')
  // In report mode it refuses nothing.
  const isLimited = isObject(limit) && limit['mode'] !== 'report'
  if (isLimited || requiresCaller(optionsOf('auth'))) return []
  const looksLikeLogin = paths.some((path) =>
    LOGIN.test(
      path
        .replace(/\/\*?$/, '')
        .split('/')
        .at(-1) ?? ''
    )
  )
  return looksLikeLogin
    ? [
        unlimitedLogin(
          'takes passwords or codes, by its path, without a limit, so that they can be guessed; set "rateLimit" with "by": "ip"'
        )
      ]
    : []
}

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

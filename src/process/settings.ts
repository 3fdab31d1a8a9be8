import { availableParallelism } from 'node:os'
import { duration } from '../lib/units.ts'
import { WORKER } from '../lib/worker-number.ts'

/** The settings of a process; a change needs a restart. */
export interface Settings {
  readonly host: string
  readonly port: number
  readonly config: string
  /** The number of processes that serve requests. */
  readonly workers: number
  readonly adminHost: string
  /** undefined for no admin listener. */
  readonly adminPort: number | undefined
  /** undefined for no token. */
  readonly adminToken: string | undefined
  /** undefined for no token of its own. */
  readonly adminPurgeToken: string | undefined
  readonly logLevel: string
  /** "auto" is true on a terminal. */
  readonly logPretty: boolean | 'auto'
  /** Listening sockets that were open before the process started, by file descriptor; undefined where it opens its own. */
  readonly inherited: Inherited
  /** Milliseconds. */
  readonly drainDelay: number
  /** Milliseconds. */
  readonly drainTimeout: number
}

/** Sockets that systemd has opened (socket activation); HOST and PORT are ignored for them. */
export interface Inherited {
  readonly main?: number
  /** Instead of `tls.redirectFrom`. */
  readonly redirect?: number
  /** Instead of ADMIN_HOST and ADMIN_PORT. */
  readonly admin?: number
}

/** An environment variable. */
export interface Variable {
  readonly name: string
  readonly fallback: string
  readonly about: string
}

/** The environment variables, in the order of .env.example. */
export const variables: readonly Variable[] = [
  {
    name: 'HOST',
    fallback: '127.0.0.1',
    about: 'The address to listen on; 0.0.0.0 for all, which is the default of the container image.'
  },
  { name: 'PORT', fallback: '3000', about: 'The port to listen on; 0 for any free port.' },
  {
    name: 'GATEWAY_CONFIG',
    fallback: 'gateway.json',
    about: 'The config file: JSON with comments, YAML, or a .ts or .js module.'
  },
  {
    name: 'WORKERS',
    fallback: '1',
    about: 'The number of processes that serve requests; auto for one per CPU core.'
  },
  {
    name: 'LOG_LEVEL',
    fallback: 'info',
    about: 'The minimum log level: trace, debug, info, warn, error, fatal or silent.'
  },
  {
    name: 'LOG_PRETTY',
    fallback: 'auto',
    about:
      'true for readable log lines, false for one JSON object per line; auto is true on a terminal alone.'
  },
  {
    name: 'ADMIN_HOST',
    fallback: '127.0.0.1',
    about: 'The address of the admin listener: the dashboard, metrics, status, config and actions.'
  },
  {
    name: 'ADMIN_PORT',
    fallback: '9901',
    about: 'The port of the admin listener; empty for no admin listener, 0 for any free port.'
  },
  {
    name: 'ADMIN_TOKEN',
    fallback: '',
    about:
      'The token that the admin listener requires as Authorization: Bearer; empty for none, and no actions.'
  },
  {
    name: 'ADMIN_PURGE_TOKEN',
    fallback: '',
    about: 'A token for POST /purge of the admin listener alone, beside ADMIN_TOKEN; empty for none.'
  },
  {
    name: 'DRAIN_DELAY',
    fallback: '0s',
    about: 'How long a stopping process still accepts requests while /-/ready returns 503.'
  },
  {
    name: 'DRAIN_TIMEOUT',
    fallback: '30s',
    about: 'How long requests in flight may take after DRAIN_DELAY before they are cut.'
  },
  {
    name: 'SESSION_SECRET',
    fallback: '',
    about: 'The secret that signs session cookies, at least 32 characters: openssl rand -base64 32.'
  },
  {
    name: 'REDIS_URL',
    fallback: '',
    about:
      'The URL of the Redis or Valkey that several instances share; empty for the memory of this process.'
  },
  {
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    fallback: '',
    about:
      'The URL of the OTLP/HTTP receiver of "tracing", without /v1/traces; empty for http://localhost:4318.'
  },
  {
    name: 'OTEL_EXPORTER_OTLP_HEADERS',
    fallback: '',
    about: 'Headers for the receiver of "tracing", such as api-key=secret,tenant=a; empty for none.'
  },
  {
    name: 'OTEL_SERVICE_NAME',
    fallback: '',
    about: 'The name of the gateway in traces; empty for sallyport.'
  }
]

/** An environment variable is invalid; the message names it, what is expected and what it is. */
export class SettingsError extends Error {}

/** The levels of the log. */
export const LOG_LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Reads the settings of a process from its environment; throws a SettingsError. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const readVariable = (name: string): string => {
    const value = env[name]
    return value === undefined || value === ''
      ? (variables.find((variable) => variable.name === name)?.fallback ?? '')
      : value
  }
  const portOf = (name: string): number => {
    const port = Number(readVariable(name))
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new SettingsError(`${name}: expected a number from 0 to 65535, got "${readVariable(name)}"`)
    return port
  }
  const logLevel = readVariable('LOG_LEVEL')
  if (!LOG_LEVELS.includes(logLevel))
    throw new SettingsError(`LOG_LEVEL: expected one of ${LOG_LEVELS.join(', ')}, got "${logLevel}"`)
  const durationOf = (name: string): number => {
    try {
      return duration(readVariable(name))
    } catch {
      throw new SettingsError(`${name}: expected a duration such as "30s", got "${readVariable(name)}"`)
    }
  }
  return {
    host: readVariable('HOST'),
    port: portOf('PORT'),
    config: readVariable('GATEWAY_CONFIG'),
    workers: readWorkers(readVariable('WORKERS')),
    adminHost: readVariable('ADMIN_HOST'),
    // An empty value is valid here: no listener.
    adminPort: env['ADMIN_PORT'] === '' ? undefined : portOf('ADMIN_PORT'),
    adminToken: readVariable('ADMIN_TOKEN') === '' ? undefined : readVariable('ADMIN_TOKEN'),
    adminPurgeToken: readVariable('ADMIN_PURGE_TOKEN') === '' ? undefined : readVariable('ADMIN_PURGE_TOKEN'),
    logLevel,
    logPretty: readPretty(readVariable('LOG_PRETTY')),
    inherited: inheritedFrom(env),
    drainDelay: durationOf('DRAIN_DELAY'),
    drainTimeout: durationOf('DRAIN_TIMEOUT')
  }
}

function readPretty(written: string): boolean | 'auto' {
  const value = written.toLowerCase()
  if (value === 'auto') return value
  if (['1', 'true', 'yes'].includes(value)) return true
  if (['0', 'false', 'no'].includes(value)) return false
  throw new SettingsError(`LOG_PRETTY: expected true, false or auto, got "${written}"`)
}

// A larger number is a typing error.
const MAX_WORKERS = 1024

function readWorkers(written: string): number {
  if (written === 'auto') return availableParallelism()
  const workers = Number(written)
  if (!Number.isInteger(workers) || workers < 1 || workers > MAX_WORKERS)
    throw new SettingsError(`WORKERS: expected a number from 1 to ${MAX_WORKERS} or auto, got "${written}"`)
  return workers
}

// The first file descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_FD = 3

/** Finds the sockets that systemd passed to this process, or to its primary if it is a worker. Those named "redirect" and "admin" are for these listeners; any other is the main one. */
function inheritedFrom(env: Readonly<Record<string, string | undefined>>): Inherited {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env
  // A worker listens through its primary, whose process id systemd has set.
  if (LISTEN_PID !== String(env[WORKER] === undefined ? process.pid : process.ppid)) return {}
  const names = LISTEN_FDNAMES.split(':')
  const found: { -readonly [K in keyof Inherited]: Inherited[K] } = {}
  for (let i = Number(LISTEN_FDS) - 1; i >= 0; i--) {
    const name = names[i]
    found[name === 'redirect' || name === 'admin' ? name : 'main'] = FIRST_FD + i
  }
  return found
}
